package machines

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// badVersion is signed like any other, and dies.
const badVersion = 30

// The ways a release dies, by the artifact that is broken.
var deaths = map[string]struct{ artifact, console string }{
	"initramfs": {"initramfs", `Kernel panic - not syncing`},                              // the kernel finds no init
	"rootfs":    {"rootfs", `initramfs: .*restarting through the firmware in 10 seconds`}, // the first init finds no rootfs
}

// tried follows a node through a release that dies: two jumps, after each of
// which the firmware brings the stub back, and then no more.
func tried(t *testing.T, n *lab.Node, bad lab.Release, death string) {
	t.Helper()
	digest := bad.Digest.String()
	from := lab.Begin
	for _, told := range []string{"it may be tried once more", "it is not tried again"} {
		_, jump := line(t, n, from, fmt.Sprintf(`update: jumping into version %d `, badVersion))
		line(t, n, jump, death)
		reset, err := n.Console.WaitKind(patient(t), jump, qemu.Reset)
		if err != nil {
			t.Fatal(err)
		}
		from = reset
		line(t, n, from, `init: Phase .* booted from (stub|kexec)`)
		line(t, n, from, `init: problem: release `+digest+` was started and did not come up; `+told)
	}
	refused(t, n, from, "failed_before")
	up(t, n, from, stubVersion)
	st := status(t, n)
	if st.Release.Version != stubVersion || st.Health.Status != "healthy" {
		t.Errorf("after both tries the node is %+v", st)
	}
	if st.Update.Last == nil || st.Update.Last.Code != "failed_before" || st.Update.Last.Result != "refused" {
		t.Errorf("/status says of the update: %+v", st.Update.Last)
	}
	inStatus(t, n, digest)
	if jumps := lines(n, `kexec_core: Starting new kernel`); jumps != 2 {
		t.Errorf("there were %d jumps", jumps)
	}
}

// An endless loop is impossible: a release that dies is tried twice, and then
// the stub refuses it and stays up.
func TestBadReleaseEnds(t *testing.T) {
	for name, death := range deaths {
		t.Run(name, func(t *testing.T) {
			if name != "initramfs" {
				long(t)
			}
			t.Parallel()
			w, s := open(t, qemu.X86_64), segment(t)
			bad := w.altered(t, badVersion, death.artifact, bytes.Repeat([]byte("not what it should be\n"), 1000))
			p := laptop(t, s, nil, bad)
			n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node"})
			tried(t, n, bad, death.console)
		})
	}
}

// The same without a disk: the firmware's variables remember. What is started
// by the firmware is the stub, as a network boot would bring it each time.
func TestBadReleaseEndsDiskless(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, qemu.X86_64), segment(t)
	if err := qemu.Available(w.Arch, qemu.UEFI); err != nil {
		missing(t, err)
	}
	bad := w.altered(t, badVersion, "initramfs", bytes.Repeat([]byte("no archive\n"), 1000))
	p := laptop(t, s, nil, bad)
	bare, err := w.Bare(w.stub, p.Setting)
	if err != nil {
		t.Fatal(err)
	}
	cfg := bare.Config(qemu.Config{Name: "node", Vars: filepath.Join(t.TempDir(), "vars.qcow2")})
	cfg.Firmware = qemu.UEFI
	n := w.start(t, s, w.stub, cfg)
	line(t, n, lab.Begin, `is counted \(efi\)`)
	tried(t, n, bad, deaths["initramfs"].console)
}
