package machines

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"phase/kernel"
	"phase/qemu"
	"phase/tests/lab"
)

// walled are the packages whose walls are tried under the kernel of a node: the
// tests that must pass there, and what they say of the walls.
var walled = map[string]struct {
	tests []string
	walls string
}{
	"phase/appliance/compute/sandbox": {[]string{"TestNothingIsReachedFromBehindTheWalls", "TestNothingButItsFolderIsReachedFromBehindTheWalls"},
		`\[process rlimit no-new-privileges uid 65534 landlock \d+ seccomp\]`},
	"phase/appliance/machine/walls": {[]string{"TestDaemonWall"}, `\[no-new-privileges landlock \d+ seccomp\]`},
	"phase/programs/update":         {[]string{"TestWalls"}, `\[no-new-privileges landlock \d+ seccomp\]`},
}

// The walls around jobs and around the programs of a node, tried by the tests
// beside them under the kernel of a node: they are the machine's only program. The
// kernel of x86_64 cannot limit memory by control groups; that of arm64 can, and must.
func TestWallsOnTheKernel(t *testing.T) {
	for _, c := range []struct {
		arch string
		long bool
	}{{qemu.X86_64, false}, {qemu.ARM64, true}} {
		t.Run(c.arch, func(t *testing.T) {
			for pkg, of := range walled {
				t.Run(filepath.Base(pkg), func(t *testing.T) {
					if c.long {
						long(t)
					}
					t.Parallel()
					w := open(t, c.arch)
					bare, err := w.Bare(w.stub)
					if err != nil {
						t.Fatal(err)
					}
					bare.Initrd = testsAsInit(t, c.arch, pkg, nil)
					bare.Cmdline = "panic=-1 loglevel=3 " + w.Pieces.Kernel.Options + " " + w.Pieces.Kernel.ConsoleArgs() + " rdinit=/init -- -test.v -test.run=Wall|Cgroup"
					n := w.start(t, nil, w.stub, bare.Config(qemu.Config{Name: "kernel", NICs: []qemu.NIC{}}))
					line(t, n, lab.Begin, `tests on this kernel have ended with code 0`)
					for _, test := range of.tests {
						line(t, n, lab.Begin, `--- PASS: `+test+` `)
					}
					line(t, n, lab.Begin, of.walls)
					if filepath.Base(pkg) == "sandbox" {
						cgroup := "SKIP"
						if c.arch == qemu.ARM64 {
							cgroup = "PASS"
						}
						line(t, n, lab.Begin, `--- `+cgroup+`: TestCgroup `)
					}
				})
			}
		})
	}
}

// The start of a node on a persistent partition that holds anything, tried by
// the tests of init under the kernel of a node.
func TestMutatedDisksOnTheKernel(t *testing.T) {
	t.Parallel()
	w := open(t, machineArch)
	bare, err := w.Bare(w.stub)
	if err != nil {
		t.Fatal(err)
	}
	perm, err := os.ReadFile(filepath.Join(w.Pieces.Dir, "perm.ext4"))
	if err != nil {
		t.Fatal(err)
	}
	bare.Initrd = testsAsInit(t, w.Arch, "phase/init", map[string]string{"etc/phase/perm.ext4": string(perm)})
	short := " -test.short"
	if os.Getenv("PHASE_TIER") == "all" {
		short = ""
	}
	bare.Cmdline = "panic=-1 loglevel=1 " + w.Pieces.Kernel.Options + " " + w.Pieces.Kernel.ConsoleArgs() + " rdinit=/init -- -test.v -test.run=MutatedDisks" + short
	n := w.start(t, nil, w.stub, bare.Config(qemu.Config{Name: "kernel", NICs: []qemu.NIC{}, MemoryMB: 1024}))
	line(t, n, lab.Begin, `tests on this kernel have ended with code 0`)
	line(t, n, lab.Begin, `--- PASS: TestStartOnMutatedDisks `)
}

// testsAsInit compiles a package's tests for an arch and makes them the first
// program of an initramfs, with files beside it by their path.
func testsAsInit(t *testing.T, arch, pkg string, files map[string]string) (initrd string) {
	t.Helper()
	k, err := kernel.For(arch)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "tests")
	build := exec.CommandContext(patient(t), "go", "test", "-c", "-ldflags=-s -w", "-o", binary, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+k.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compiling the tests: %v: %s", err, out)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	records := []cpio.Record{
		cpio.StaticRecord(program, cpio.Info{Name: "init", Mode: cpio.S_IFREG | 0o755}),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755), cpio.Directory("run", 0o755), cpio.Directory("tmp", 0o755), cpio.Directory("perm", 0o755),
	}
	for path, content := range files {
		records = append(records, cpio.StaticFile(path, content, 0o644))
	}
	var archive bytes.Buffer
	packed := gzip.NewWriter(&archive)
	if err := errors.Join(cpio.WriteRecordsAndDirs(cpio.Newc.Writer(packed), records), packed.Close()); err != nil {
		t.Fatal(err)
	}
	initrd = filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return initrd
}
