package docs

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"phase/appliance/compute/worker"
)

// root is the repository, from here.
const root = "../.."

// links are the names that the one binary is called by in pages.
var links = []string{"discover", "fetch", "kexec", "net", "plasmd", "update", "verify"}

// bin is a folder of the programs, as `make build` makes them.
func bin(t *testing.T) string {
	t.Helper()
	// The test cache sees the folders that this process reads, not what go build does.
	for _, dir := range []string{"appliance", "programs", "images", "kernel", "examples", "qemu"} {
		if err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// built builds them once for all tests here, into a folder that later runs find.
var built = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join(root, "build/tests/docs/bin"))
	if err != nil {
		return "", err
	}
	const id = "phase-worker-of-the-pages"
	for _, args := range [][]string{
		{"-ldflags=-s -w -buildid=" + id, "-o", filepath.Join(dir, worker.File), "phase/programs/" + worker.File},
		{"-ldflags=-s -w -X phase/appliance/compute/worker.Build=" + id, "-o", filepath.Join(dir, "phase"), "phase/programs/phase"},
		{"-ldflags=-s -w", "-o", filepath.Join(dir, "images"), "phase/images/main"},
		{"-ldflags=-s -w", "-o", filepath.Join(dir, "qemu"), "phase/qemu/main"},
	} {
		if err := goBuild(nil, args...); err != nil {
			return "", err
		}
	}
	for _, name := range links {
		if err := os.Symlink("phase", filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	return dir, nil
})

// goBuild runs go build, with more variables.
func goBuild(env []string, args ...string) error {
	build := exec.Command("go", append([]string{"build"}, args...)...)
	build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	build.Stderr = os.Stderr
	return build.Run()
}
