package qemu

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/tests/nbd"
)

// disk makes an empty raw disk of 1 MiB.
func disk(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk,1.img") // the comma: QEMU's options have their own idea of it
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func kind(t testing.TB, m *Machine, after Event, k Kind) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	e, err := m.Console.WaitKind(ctx, after, k)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPowerCycleKeepsTheDiskAndTheHistory(t *testing.T) {
	eachArch(t, func(t *testing.T, arch string) {
		path := disk(t)
		m := boot(t, Config{Arch: arch, MemoryMB: 256, Disks: []Disk{{Path: path}}})
		if got := do(t, m, "write over a power cut"); got != "done" {
			t.Fatal(got)
		}
		last := m.Console.Last()
		check(t, m.PowerCycle(t.Context()))
		if off := kind(t, m, last, PowerOff); off.Text != "power cut" {
			t.Errorf("the power went off because of %q", off.Text)
		}
		wait(t, m, last, "^init: ready")
		if got := do(t, m, "read"); got != "over a power cut" {
			t.Errorf("the disk holds %q after the power cycle", got)
		}
		if first := wait(t, m, Event{Index: -1}, "^init: ready"); first.Index > last.Index {
			t.Error("the first boot is gone from the history")
		}
		if b, _ := os.ReadFile(path); strings.Trim(string(b), "\x00") != "" {
			t.Error("the disk's own file was written")
		}
	})
}

func TestDisksKept(t *testing.T) {
	path, over := disk(t), filepath.Join(t.TempDir(), "kept.qcow2")
	d := Disk{Path: path, Overlay: over}
	m := boot(t, Config{Arch: ARM64, MemoryMB: 256, Disks: []Disk{d}})
	if got := do(t, m, "write kept"); got != "done" {
		t.Fatal(got)
	}
	check(t, m.Close())
	m = boot(t, Config{Arch: ARM64, MemoryMB: 256, Disks: []Disk{d}})
	if got := do(t, m, "read"); got != "kept" {
		t.Errorf("%+v: another machine reads %q", d, got)
	}
	check(t, m.Close())
	m = boot(t, Config{Arch: ARM64, MemoryMB: 256, Disks: []Disk{{Path: path, ReadOnly: true}}})
	if got := do(t, m, "write no"); !strings.HasPrefix(got, "error: ") {
		t.Errorf("writing a read-only disk: %s", got)
	}
}

// A disk may be a server's. What the machine flushed has reached it when the
// machine goes on.
func TestDiskOfAServer(t *testing.T) {
	d, err := nbd.NewDisk(strings.NewReader(""), 1<<20)
	check(t, err)
	server, err := nbd.Serve(d)
	check(t, err)
	defer server.Close()
	m := boot(t, Config{MemoryMB: 256, Disks: []Disk{{NBD: server.Socket()}}})
	if got := do(t, m, "write kept"); got != "done" {
		t.Fatal(got)
	}
	d.Freeze()
	m.Kill()
	check(t, d.LoseAll())
	d.PowerOn()
	before := m.Console.Last()
	check(t, m.PowerOn(t.Context()))
	wait(t, m, before, "^init: ready")
	if got := do(t, m, "read"); got != "kept" {
		t.Errorf("after the power cut the disk has %q", got)
	}
}

func TestRestartsAndPowerOffAreEvents(t *testing.T) {
	eachArch(t, func(t *testing.T, arch string) {
		m := boot(t, Config{Arch: arch, MemoryMB: 256})
		last := m.Console.Last()
		m.Console.Write([]byte("reboot\n"))
		if e := kind(t, m, last, Reset); e.Text != "guest-reset" {
			t.Errorf("the guest's restart is called %q", e.Text)
		}
		ready := wait(t, m, last, "^init: ready")
		check(t, m.Reset(t.Context()))
		if e := kind(t, m, ready, Reset); e.Text != "host-qmp-system-reset" {
			t.Errorf("the reset button is called %q", e.Text)
		}
		ready = wait(t, m, ready, "^init: ready")
		check(t, m.PowerButton(t.Context()))
		wait(t, m, ready, "^init: power button")
		select {
		case <-m.Done():
			t.Fatal("it is off already")
		default:
		}
		m.Console.Write([]byte("poweroff\n"))
		if e := kind(t, m, ready, Shutdown); e.Text != "guest-shutdown" {
			t.Errorf("the guest's power-off is called %q", e.Text)
		}
		check(t, m.Wait(t.Context()))
		last = m.Console.Last()
		if last.Kind != PowerOff || last.Text != "the machine switched itself off" {
			t.Errorf("the last event is %v", last)
		}
		if _, err := m.Console.Wait(t.Context(), "never said"); err == nil || !strings.Contains(err.Error(), "the machine is off") {
			t.Errorf("waiting for a machine that is off: %v", err)
		}
		check(t, m.PowerOn(t.Context()))
		wait(t, m, last, "^init: ready")
		for e := range slices.Values(m.Console.Events()) {
			if e.Kind != Line || strings.HasPrefix(e.Text, "Linux version") || e.Text == "init: ready" {
				t.Log(e)
			}
		}
	})
}

func TestWatchdogResets(t *testing.T) {
	m := boot(t, Config{Arch: ARM64, MemoryMB: 256, Watchdog: true})
	last := m.Console.Last()
	if got := do(t, m, "watchdog"); got != "armed" {
		t.Fatal(got)
	}
	if e := kind(t, m, last, Watchdog); e.Text != "reset" {
		t.Errorf("the watchdog did %q", e.Text)
	}
	wait(t, m, kind(t, m, last, Reset), "^init: ready")
}

func TestUEFIKeepsItsVariables(t *testing.T) {
	eachArch(t, func(t *testing.T, arch string) {
		cfg := Config{Arch: arch, Firmware: UEFI, Vars: filepath.Join(t.TempDir(), "vars")}
		m := boot(t, cfg)
		wait(t, m, Event{Index: -1}, "^init: hello, EFI true")
		if got := do(t, m, "setvar remembered"); got != "done" {
			t.Fatal(got)
		}
		last := m.Console.Last()
		check(t, m.PowerCycle(t.Context()))
		wait(t, m, last, "^init: ready")
		if got := do(t, m, "getvar"); got != "remembered" {
			t.Errorf("the variable is %q after a power cycle", got)
		}
		check(t, m.Close())
		if _, err := os.Stat(cfg.Vars); err != nil {
			t.Errorf("the variables are not kept: %v", err)
		}
	})
}

func TestClock(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Now().AddDate(60, 0, 0)} {
		at = at.Truncate(time.Second) // a real-time clock has whole seconds, and this machine is up in less than one
		m := boot(t, Config{Arch: ARM64, MemoryMB: 256, Clock: at})
		got, err := time.Parse(time.RFC3339, do(t, m, "date"))
		check(t, err)
		if d := got.Sub(at); d < 0 || d > 10*time.Minute {
			t.Errorf("the machine's clock says %s, it was set to %s", got, at)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := segment(t)
	img := disk(t)
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Arch: "amd64"}, `architecture "amd64" is not known`},
		{Config{Arch: ARM64, Firmware: BIOS}, "arm64 has no BIOS"},
		{Config{Firmware: Bare}, "needs a kernel"},
		{Config{Firmware: "coreboot"}, `firmware "coreboot"`},
		{Config{Cmdline: "quiet"}, "needs a kernel beside it"},
		{Config{Vars: "x"}, "only uefi"},
		{Config{Accel: "hvf"}, `acceleration "hvf"`},
		{Config{Clock: time.Now().AddDate(70, 0, 0)}, "68 years"},
		{Config{MemoryMB: -1}, "-1 MB"},
		{Config{NICs: []NIC{{}}}, "on no segment"},
		{Config{Disks: []Disk{{Path: img, Overlay: img, ReadOnly: true}}}, "cannot be read-only and kept"},
		{Config{Disks: []Disk{{Path: img, Bus: "scsi"}}}, `bus "scsi"`},
		{Config{Arch: ARM64, Disks: []Disk{{Path: img, Bus: SATA}}}, "no SATA"},
		{Config{Firmware: UEFI, Disks: []Disk{{Path: img, Sector: 1024}}}, "sectors of 1024 bytes"},
		{Config{Disks: []Disk{{Path: img, Sector: 4096}}}, "need UEFI"},
		{Config{Disks: []Disk{{Path: img + ".none"}}}, "no such file"},
		{Config{Disks: []Disk{{}}}, "either a path or a server's socket"},
		{Config{Disks: []Disk{{NBD: img, ReadOnly: true}}}, "are the server's"},
		{Config{NICs: []NIC{{Segment: s, MAC: s.observer.port.mac}}}, "observer already has the MAC"},
		{Config{Kernel: img + ".none"}, "could not open kernel file"}, // QEMU's own words
	} {
		c.cfg.Name = "refused"
		if c.cfg.Accel == "" {
			c.cfg.Accel = "tcg"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		m, err := Start(ctx, c.cfg)
		cancel()
		if err == nil {
			m.Close()
			t.Errorf("%+v: not refused", c.cfg)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("refused with %q, want %q in it", err, c.want)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.ports); n != 1 {
		t.Errorf("%d ports are left on the segment, want the observer's", n)
	}
}
