package machines

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"phase/kernel"
	"phase/qemu"
	"phase/tests/lab"
)

// The walls around jobs, tried by the tests of package sandbox themselves under
// the kernel of a node: they are the machine's only program. The kernel of
// x86_64 cannot limit memory by control groups; that of arm64 can, and must.
func TestWallsOnTheKernel(t *testing.T) {
	for _, c := range []struct {
		arch string
		long bool
	}{{qemu.X86_64, false}, {qemu.ARM64, true}} {
		t.Run(c.arch, func(t *testing.T) {
			if c.long {
				long(t)
			}
			t.Parallel()
			w := open(t, c.arch)
			bare, err := w.Bare(w.stub)
			if err != nil {
				t.Fatal(err)
			}
			bare.Initrd = testsAsInit(t, c.arch, "phase/appliance/compute/sandbox")
			bare.Cmdline = "panic=-1 loglevel=3 " + w.Pieces.Kernel.Options + " " + w.Pieces.Kernel.ConsoleArgs() + " rdinit=/init -- -test.v -test.run=Wall|Cgroup"
			n := w.start(t, nil, w.stub, bare.Config(qemu.Config{Name: "kernel", NICs: []qemu.NIC{}}))
			line(t, n, lab.Begin, `tests on this kernel have ended with code 0`)
			for _, test := range []string{"TestNothingIsReachedFromBehindTheWalls", "TestNothingButItsFolderIsReachedFromBehindTheWalls"} {
				line(t, n, lab.Begin, `--- PASS: `+test+` `)
			}
			line(t, n, lab.Begin, `\[process rlimit no-new-privileges uid 65534 landlock \d+ seccomp\]`)
			cgroup := "SKIP"
			if c.arch == qemu.ARM64 {
				cgroup = "PASS"
			}
			line(t, n, lab.Begin, `--- `+cgroup+`: TestCgroup `)
		})
	}
}

// testsAsInit compiles a package's tests for an arch and makes them the only
// file of an initramfs.
func testsAsInit(t *testing.T, arch, pkg string) (initrd string) {
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
	var archive strings.Builder
	if err := cpio.WriteRecordsAndDirs(cpio.Newc.Writer(&archive), []cpio.Record{
		cpio.StaticRecord(program, cpio.Info{Name: "init", Mode: cpio.S_IFREG | 0o755}),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755), cpio.Directory("run", 0o755), cpio.Directory("tmp", 0o755),
	}); err != nil {
		t.Fatal(err)
	}
	initrd = filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, []byte(archive.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return initrd
}
