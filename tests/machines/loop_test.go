package machines

import (
	"bytes"
	"errors"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/trial"
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
// which the firmware brings the stub back, and then no more for an hour, which
// nobody here waits for. remembers says
// that the machine knows by itself what it tried.
func tried(t *testing.T, n *lab.Node, bad lab.Release, death string, remembers bool) {
	t.Helper()
	digest := bad.Digest.String()
	from := lab.Begin
	for _, told := range []string{"it may be tried once more", `it is tried again only once this machine has been up for 1 h`} {
		// The second time it may be in the store of the node.
		_, jump := line(t, n, from, lab.JumpInto(badVersion))
		line(t, n, jump, death)
		reset, err := n.Console.WaitKind(patient(t), jump, qemu.Reset)
		if err != nil {
			t.Fatal(err)
		}
		from = reset
		line(t, n, from, `init: Phase .* booted from (stub|kexec)`)
		if remembers {
			line(t, n, from, `init: problem: release `+digest+` was started and did not come up; `+told)
		}
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
	if remembers {
		inStatus(t, n, digest)
	}
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
			w, s := open(t, machineArch), segment(t)
			bad := w.altered(t, badVersion, death.artifact, bytes.Repeat([]byte("not what it should be\n"), 1000))
			p := laptop(t, s, nil, bad)
			n := w.start(t, s, w.stick(t, p.Setting), qemu.Config{Name: "node"})
			tried(t, n, bad, death.console, true)
		})
	}
}

// The same without a disk: the firmware's variables remember. What is started
// by the firmware is the stub, as a network boot would bring it each time.
func TestBadReleaseEndsDiskless(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
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
	tried(t, n, bad, deaths["initramfs"].console, true)
}

// A machine with neither a disk nor variables forgets at each restart what it
// tried; the provider of the release remembers for it.
func TestBadReleaseEndsForgetful(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	bad := w.altered(t, badVersion, "initramfs", bytes.Repeat([]byte("no archive\n"), 1000))
	p := laptop(t, s, nil, bad)
	bare, err := w.Bare(w.stub, p.Setting)
	if err != nil {
		t.Fatal(err)
	}
	n := w.start(t, s, w.stub, bare.Config(qemu.Config{Name: "node"}))
	line(t, n, lab.Begin, `update: .*nowhere to remember .*; counted at `+regexp.QuoteMeta(p.URL))
	tried(t, n, bad, deaths["initramfs"].console, false)
}

// What came up is not held against a machine that forgets: it may be switched
// off and on as often as its owner likes.
func TestGoodReleaseForgetful(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil, w.next)
	bare, err := w.Bare(w.stub, p.Setting)
	if err != nil {
		t.Fatal(err)
	}
	n := w.start(t, s, w.stub, bare.Config(qemu.Config{Name: "node"}))
	on := lab.Begin
	for range 3 { // more than a release may be tried
		jumped(t, n, on, nextVersion)
		line(t, n, on, `update: `+regexp.QuoteMeta(p.URL)+` knows that this release is good`)
		on = powerCycle(t, n)
	}
}

// The kernel that was jumped into can still use the firmware's variables, and
// crosses out in them that the release was on trial.
func TestGoodReleaseVariables(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	if err := qemu.Available(w.Arch, qemu.UEFI); err != nil {
		missing(t, err)
	}
	p := laptop(t, s, nil, w.next)
	bare, err := w.Bare(w.stub, p.Setting)
	if err != nil {
		t.Fatal(err)
	}
	cfg := bare.Config(qemu.Config{Name: "node", Vars: filepath.Join(t.TempDir(), "vars.qcow2")})
	cfg.Firmware = qemu.UEFI
	n := w.start(t, s, w.stub, cfg)
	on := lab.Begin
	for range 3 { // more than a release may be tried
		_, jump := line(t, n, on, `is counted \(efi\)`)
		jumped(t, n, on, nextVersion)
		line(t, n, jump, `init: release `+w.next.Digest.String()+` is good`)
		on = powerCycle(t, n)
	}
}

// A release that comes up and dies soon after, each time, is no endless loop
// either: the machine stays with the stub in the end. A power cut is as good a
// death as any.
func TestReleaseThatDoesNotLast(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	p := laptop(t, s, nil, w.next)
	const most, jumps = 4, 3
	stick := w.stick(t, p.Setting)
	journal(t, stick.Disk, w.next.Digest, most-jumps)
	n := w.start(t, s, stick, qemu.Config{Name: "node"})
	on := lab.Begin
	for range jumps {
		line(t, n, on, lab.JumpInto(nextVersion))
		line(t, n, on, `init: release `+w.next.Digest.String()+` is good`)
		on = powerCycle(t, n)
	}
	up(t, n, on, stubVersion)
	problem(t, n, on, `release `+w.next.Digest.String()+` was started 4 times, came up, and did not last; it is tried again only once this machine has been up for 1 h`)
	refused(t, n, on, "failed_before")
	healthy(t, n)
	if got := lines(n, `kexec_core: Starting new kernel`); got != jumps {
		t.Errorf("there were %d jumps", got)
	}
}

// journal gives a stick that was never started the journal of a machine where a
// release came up and did not last so often.
func journal(t *testing.T, stick string, d names.Digest, tries int) {
	t.Helper()
	dir := t.TempDir()
	for i := range tries {
		j := trial.InFolder(dir, trial.Boot{ID: strconv.Itoa(i), Up: func() time.Duration { return 0 }})
		if err := errors.Join(j.Begin(d, nextVersion, trial.Expect{}), j.Good(d)); err != nil {
			t.Fatal(err)
		}
	}
	perm := permOf(t, stick)
	run(t, "debugfs", "-w", "-R", "mkdir phase", perm)
	run(t, "debugfs", "-w", "-R", "write "+filepath.Join(dir, trial.File)+" phase/"+trial.File, perm)
	putPerm(t, stick, perm)
}
