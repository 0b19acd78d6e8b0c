package machines

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"phase/qemu"
	"phase/tests/await"
	"phase/tests/lab"
)

// fault is a release that is broken and properly signed.
type fault struct {
	artifact string
	content  func(*testing.T, *world) []byte
	why      string // what the stub says of it afterwards
	watchdog bool   // the machine has one
	peer     bool   // another node is there
	arches   []string
}

var both = []string{qemu.X86_64, qemu.ARM64}

// The ways in which a release fails on a machine.
var broken = map[string]fault{
	"init-panics":          {artifact: "initramfs", content: noArchive, why: "did not come up", arches: both},
	"first-init-hangs":     {artifact: "initramfs", content: hungFirst, why: "did not come up", arches: both},
	"init-hangs":           {artifact: "rootfs", content: hungRoot, why: "did not come up", arches: both},
	"init-hangs-watched":   {artifact: "rootfs", content: hungRoot, why: "did not come up", watchdog: true, arches: both},
	"kernel-hangs-watched": {artifact: "kernel", content: deadKernel, why: "did not come up", watchdog: true, arches: []string{qemu.X86_64}},
	"no-network":           {artifact: "rootfs", content: wrapped("no-network"), why: "there is no network address, and there was one before", arches: both},
	"plasmd-ends":          {artifact: "rootfs", content: wrapped("plasmd-ends"), why: "plasmd ends again and again", arches: both},
	"no-peers":             {artifact: "rootfs", content: wrapped("no-peers"), why: "no peer is reached, and there was one before", peer: true, arches: both},
}

// TestHeal: whatever is wrong with a release, the machine is back on the last good
// one by itself, tries it twice at once and no more, and says why.
func TestHeal(t *testing.T) {
	for name, f := range broken {
		for _, arch := range f.arches {
			t.Run(name+"/"+arch, func(t *testing.T) {
				if name != "plasmd-ends" || arch != qemu.X86_64 {
					long(t)
				}
				t.Parallel()
				f.heals(t, arch)
			})
		}
	}
}

func (f fault) heals(t *testing.T, arch string) {
	w, s := open(t, arch), segment(t)
	gateway(t, s)
	bad := w.altered(t, badVersion, f.artifact, f.content(t, w))
	n := w.start(t, s, w.stick(t), qemu.Config{Name: "node", Watchdog: f.watchdog})
	up(t, n, lab.Begin, stubVersion)
	line(t, n, lab.Begin, `net: .*10\.1\.0\.11/24`)
	if f.peer {
		w.start(t, s, w.flashed(t, w.stub), qemu.Config{Name: "peer"})
		if err := await.Until(patient(t), func() bool { return status(t, n).Network.Peers > 0 }); err != nil {
			t.Fatal("the node has no peer: ", err)
		}
	}
	if _, err := laptop(t, s, nil, bad).Announce("broken", bad); err != nil {
		t.Fatal(err)
	}
	from, jump := n.Console.Last(), lab.Begin
	for try := range 2 {
		_, jump = line(t, n, from, lab.JumpInto(badVersion))
		_, back := line(t, n, jump, `init: Phase .* booted from stub`)
		t.Logf("try %d: back after %s", 1+try, back.Host.Sub(jump.Host).Round(time.Second))
		from = back
	}
	line(t, n, jump, `init: problem: release `+bad.Digest.String()+` was started and did not come up.*; it is tried again only once this machine has been up for 1 h`)
	up(t, n, jump, stubVersion)
	problem(t, n, jump, f.why)
	refused(t, n, jump, "failed_before")
	healthy(t, n)
}

func noArchive(*testing.T, *world) []byte { return bytes.Repeat([]byte("no archive\n"), 1000) }

// deadKernel is a kernel that a loader takes and that finds nothing to unpack in
// itself: it halts.
func deadKernel(t *testing.T, w *world) []byte {
	t.Helper()
	kernel, err := os.ReadFile(w.next.File("kernel"))
	if err != nil {
		t.Fatal(err)
	}
	// Where the packed kernel is: Documentation/arch/x86/boot.rst of Linux.
	const setupSectors, payloadOffset = 0x1f1, 0x248
	at := (int(kernel[setupSectors])+1)*512 + int(binary.LittleEndian.Uint32(kernel[payloadOffset:]))
	copy(kernel[at:], make([]byte, 64))
	return kernel
}

// hungRoot is a rootfs whose init hangs.
func hungRoot(t *testing.T, w *world) []byte { return hung(t, w.Arch) }

// hungFirst is an initramfs whose init hangs, before it would arm a watchdog.
func hungFirst(t *testing.T, w *world) []byte {
	t.Helper()
	init, err := os.ReadFile(compiled(t, w.Arch, "./testdata/hang", ""))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err := errors.Join(cpio.WriteRecordsAndDirs(cpio.Newc.Writer(z), []cpio.Record{
		cpio.StaticRecord(init, cpio.Info{Name: "init", Mode: cpio.S_IFREG | 0o755}), cpio.CharDev("dev/console", 0o600, 5, 1),
	}), z.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// wrapped is the rootfs of the release with the one binary behind a wrapper.
func wrapped(fault string) func(*testing.T, *world) []byte {
	return func(t *testing.T, w *world) []byte {
		t.Helper()
		dir := t.TempDir()
		tree := filepath.Join(dir, "tree")
		run(t, "unsquashfs", "-quiet", "-no-progress", "-d", tree, w.next.File("rootfs"))
		run(t, "mv", filepath.Join(tree, "user", "phase"), filepath.Join(tree, "user", "phase.real"))
		run(t, "mv", compiled(t, w.Arch, "./testdata/wrapper", fault), filepath.Join(tree, "user", "phase"))
		return squashed(t, tree)
	}
}

// compiled builds a program of testdata for a machine.
func compiled(t *testing.T, arch, program, fault string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(patient(t), "go", "build", "-ldflags=-s -w -X main.fault="+fault, "-o", out, program)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+map[string]string{qemu.X86_64: "amd64", qemu.ARM64: "arm64"}[arch])
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compiling %s: %v: %s", program, err, said)
	}
	return out
}

// squashed packs a tree as the rootfs of a release is packed.
func squashed(t *testing.T, tree string) []byte {
	t.Helper()
	image := filepath.Join(t.TempDir(), "rootfs.squashfs")
	run(t, "mksquashfs", tree, image, "-comp", "gzip", "-all-root", "-no-progress", "-quiet")
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
