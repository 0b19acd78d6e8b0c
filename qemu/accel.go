package qemu

import (
	"context"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/names"
)

// trialTime is how long a machine may take under KVM until its first program runs, firmware included. Real hardware
// needs a tenth of it.
const trialTime = 20 * time.Second

// booted is what a console says when the kernel has come so far that the first program runs.
var booted = regexp.MustCompile(`as init process|^init: `)

// kvmBoots has, for each architecture and firmware, a func() bool that tries once whether KVM boots it.
var kvmBoots sync.Map

// accelerator chooses between KVM and TCG. That /dev/kvm opens is not enough: under nested virtualisation
// a kernel may stop in the middle. So the first machine of an architecture and firmware is booted once on trial, on
// throw-away disks and without a network, and the answer holds for this process.
func accelerator(ctx context.Context, c Config) string {
	if c.Arch != names.RunningArch() {
		return "tcg"
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg"
	}
	f.Close()
	boots, _ := kvmBoots.LoadOrStore(c.Arch+" "+string(c.Firmware), sync.OnceValue(func() bool { return tryKVM(ctx, c) }))
	if boots.(func() bool)() {
		return "kvm"
	}
	return "tcg"
}

func tryKVM(ctx context.Context, c Config) bool {
	c.Accel, c.NICs, c.Vars, c.Console = "kvm", nil, "", nil
	c.Disks = slices.Clone(c.Disks)
	for i, d := range c.Disks {
		c.Disks[i] = Disk{Path: d.Path, Bus: d.Bus}
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	m, err := start(ctx, c)
	if err != nil {
		return false
	}
	defer m.Close()
	e, err := m.Console.WaitFunc(ctx, Event{Index: -1}, "a first program", func(e Event) bool {
		return e.Kind == Stopped || e.Kind == Reset || e.Kind == Line && booted.MatchString(e.Text)
	})
	return err == nil && e.Kind == Line
}
