package docs

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"phase/images"
	"phase/tests/storetest"
)

// furnish lays out what the pages speak of: in furnished the folder of a checkout,
// with releases and disks that are small and start nothing, in bin the programs, in
// shims a make that looks whether there is such a target. What the targets
// make is there already.
func furnish(t *testing.T, dir string) {
	t.Helper()
	build := filepath.Join(dir, "furnished", "build")
	for _, d := range []string{build, filepath.Join(dir, "shims")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	copied(t, bin(t), filepath.Join(dir, "bin"))
	copied(t, filepath.Join(root, "sdk"), filepath.Join(dir, "furnished", "sdk"))
	if err := os.Symlink(filepath.Join(dir, "bin"), filepath.Join(build, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hello", "primes", "environment"} {
		if err := goBuild([]string{"GOOS=wasip1", "GOARCH=wasm"}, "-ldflags=-s -w", "-o", filepath.Join(build, "examples", name+".wasm"), "phase/examples/"+name); err != nil {
			t.Fatal(err)
		}
	}
	releases(t, build)
	for _, arch := range []string{"x86_64", "arm64"} {
		run(t, build, "qemu-img", "create", "-q", "-f", "raw", "phase-"+arch+".img", "4M")
		run(t, build, "qemu-img", "create", "-q", "-f", "qcow2", "phase-"+arch+".qcow2", "4M")
	}
	var known strings.Builder
	for name := range targetsOf(t) {
		known.WriteString(name + "\n")
	}
	write(t, filepath.Join(dir, "shims", "targets"), known.String(), 0o644)
	write(t, filepath.Join(dir, "shims", "make"), `#!/bin/sh
for word; do
	case $word in
	*=*) ;;
	*) grep -qx -- "$word" "$(dirname "$0")/targets" || { echo "make: no target $word" >&2; exit 2; } ;;
	esac
done
`, 0o755)
}

// releases makes keys, and a release of both arches signed by them.
func releases(t *testing.T, build string) {
	t.Helper()
	keys := filepath.Join(build, "keys")
	if _, err := images.MakeKeys(keys, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	key, trusted, err := images.LoadKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	signer := storetest.SignerOf(t, trusted.Last().Raw(), key)
	for _, arch := range []string{"x86_64", "arm64"} {
		signer.Write(t, filepath.Join(build, "release"), signer.Release(t, "stable", arch, 1795000000, storetest.Sizes))
	}
	run(t, build, "chmod", "-R", "a+rX", "keys") // until they are copied for who runs the commands
}

// targetsOf are the targets of make.
func targetsOf(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "*/*.mk"))
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob(filepath.Join(root, "*/*/*.mk"))
	if err != nil {
		t.Fatal(err)
	}
	deepest, err := filepath.Glob(filepath.Join(root, "*/*/*/*.mk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(append(append(files, deeper...), deepest...), filepath.Join(root, "Makefile")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):.* ## `).FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
	}
	if !found["demo"] || !found["image"] || !found["run"] || !found["test-hostile"] {
		t.Fatalf("the targets were not read: %v", found)
	}
	return found
}

func copied(t *testing.T, from, to string) { run(t, ".", "cp", "-r", "--preserve=links", from, to) }

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
