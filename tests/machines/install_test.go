package machines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// blank is a disk with nothing on it.
func blank(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blank")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask runs a command of plasmd for the node.
func (r remote) ask(t *testing.T, command string, args ...string) (string, error) {
	t.Helper()
	out, err := r.Run(patient(t), nil, command, append([]string{"--on", r.node}, args...)...)
	return string(out), err
}

// TestInstall: an admin has a node that was started from a stick install itself on
// the disk inside its machine, which starts from that one afterwards, without the
// stick, as another node with the same settings. Then the admin has it forget all.
func TestInstall(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, machineArch), segment(t)
	admin := remote{Laptop: person(t, s, "admin", "10.1.0.8/24")}
	stick := w.roomyStick(t, "phase.ip=10.1.0.2/24", "phase.admin="+admin.Peer)
	inside := qemu.Disk{Path: blank(t, 1<<30), Overlay: filepath.Join(t.TempDir(), "inside.qcow2"), Bus: qemu.NVMe}
	another := map[string]qemu.Bus{qemu.X86_64: qemu.SATA, qemu.ARM64: qemu.USB}[w.Arch]
	n := w.start(t, s, stick, qemu.Config{Name: "node", Disks: []qemu.Disk{
		{Path: stick.Disk, Bus: qemu.USB}, inside, {Path: blank(t, 512<<20), Bus: qemu.Virtio, Bad: []int64{50 << 20}}, {Path: blank(t, 32<<20), Bus: another}}})
	id := up(t, n, lab.Begin, stubVersion)
	admin.node = id.Peer
	admin.report(t, "reached", reached)

	out, err := admin.ask(t, "install")
	if err != nil || !strings.Contains(out, "/dev/nvme0n1 ") || !strings.Contains(out, "mounted on /boot") {
		t.Fatalf("%s, %v", out, err)
	}
	const bad, good = "/dev/vda", "/dev/nvme0n1"
	own, small := "/dev/sda", "/dev/sdb" // in the order in which the kernel found them
	for row := range strings.Lines(out) {
		if strings.HasPrefix(row, small) && strings.Contains(row, "mounted on /boot") {
			own, small = small, own
		}
	}
	for name, c := range map[string]struct{ disk, erase, says string }{
		"its own stick":    {own, own, "the disk that this system runs from"},
		"named once":       {good, "", "a second time"},
		"two names":        {good, bad, "twice"},
		"none":             {"/dev/nvme7n1", "/dev/nvme7n1", "has no disk"},
		"too small":        {small, small, "take a larger disk"},
		"one that is dead": {bad, bad, "pulled out, or is broken"},
	} {
		args := []string{c.disk}
		if c.erase != "" {
			args = append(args, "--yes-erase", c.erase)
		}
		if out, err := admin.ask(t, "install", args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	if out, err := admin.ask(t, "install", good, "--yes-erase", good); err != nil || !strings.Contains(out, "take the medium out") {
		t.Fatalf("%s, %v", out, err)
	}
	line(t, n, lab.Begin, `init: installed on `+good)
	healthy(t, n)
	poweredOff(t, n)

	n = w.start(t, s, stick, qemu.Config{Name: "inside", Disks: []qemu.Disk{inside}})
	installed := up(t, n, lab.Begin, stubVersion)
	if installed.Peer == id.Peer {
		t.Errorf("both are %s", id.Peer)
	}
	line(t, n, lab.Begin, `init: the persistent partition has grown by [89]\d\d MiB`)
	untroubled(t, n)
	admin.node = installed.Peer
	admin.report(t, "reached", reached)

	if out, err := admin.ask(t, "factory-reset", "--yes-erase", id.Peer); err == nil || !strings.Contains(err.Error(), installed.Peer) {
		t.Errorf("with the peer id of another node: %s, %v", out, err)
	}
	before := n.Console.Last()
	if out, err := admin.ask(t, "factory-reset", "--yes-erase", installed.Peer); err != nil || !strings.Contains(out, "restarting") {
		t.Fatalf("%s, %v", out, err)
	}
	_, at := line(t, n, before, `init: an operator had all forgotten`)
	fresh := up(t, n, at, stubVersion)
	if fresh.Peer == installed.Peer || fresh.Peer == id.Peer {
		t.Errorf("it is %s still", fresh.Peer)
	}
	untroubled(t, n)
	if again := up(t, n, powerCycle(t, n), stubVersion); again != fresh {
		t.Errorf("%+v after the reset, %+v after a power cut", fresh, again)
	}
	untroubled(t, n)
}
