package qemu

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"time"
)

// The architectures, in the words of the rest of the project.
const (
	X86_64 = "x86_64"
	ARM64  = "arm64"
)

// Firmware is what a machine starts with.
type Firmware string

// The firmwares. Bare means that QEMU itself puts Config.Kernel into memory.
const (
	BIOS Firmware = "bios" // SeaBIOS; x86_64 only
	UEFI Firmware = "uefi" // OVMF or AAVMF, with a variable store
	Bare Firmware = "bare"
)

// Bus is how a disk is connected to the machine.
type Bus string

// The buses. A Virtio disk is /dev/vda, the others /dev/sda and /dev/nvme0n1.
const (
	Virtio Bus = "virtio"
	USB    Bus = "usb"
	NVMe   Bus = "nvme"
	SATA   Bus = "sata" // x86_64 only
)

// Disk is one disk. By default the machine writes into an overlay that lives as long as the Machine: it
// survives Kill and PowerCycle, the file at Path is never changed, and many machines can share it.
type Disk struct {
	// Path is a raw or qcow2 file; which of the two, its first bytes tell.
	Path string
	// NBD, instead of Path, is the Unix socket of a server of the Network Block Device protocol. QEMU keeps nothing back:
	// the machine's flushes reach the server, and what it wrote between them has reached it before.
	NBD string
	// Overlay, when set, is the qcow2 file the machine writes into instead. It is made when it does not exist, and stays.
	Overlay string
	// ReadOnly gives the machine a disk it cannot write.
	ReadOnly bool
	// Bus is Virtio when empty.
	Bus Bus
	// Sector is how many bytes a sector of the disk has, 512 when 0; 4096 with UEFI only, since no BIOS reads such a disk.
	Sector int
	// Bad are places, in bytes, whose sectors can be neither read nor written.
	Bad []int64
}

// NIC is one network card.
type NIC struct {
	Segment *Segment
	// Model is virtio-net-pci when empty, or what else QEMU calls a card on PCI or, with a usb- before it, on USB.
	Model string
	// Absent is a card that is not in the machine at power-on, until PlugNIC puts it into the slot that is kept for it.
	Absent bool
	// Boot keeps the card's option ROM, iPXE, so that a BIOS that finds no disk boots from the network.
	Boot bool
	// MAC is derived from the machine's name and the card's number when nil.
	MAC net.HardwareAddr
	// Unplugged has no cable at each power-on, until SetCarrier plugs it in.
	Unplugged bool
}

// Config describes one machine, with one CPU.
type Config struct {
	// Name is shown in errors and gives the NICs their MACs; two machines on a segment need different names.
	Name string
	// Arch is X86_64 when empty.
	Arch string
	// Firmware, when empty, is Bare with a Kernel, else BIOS on x86_64 and UEFI on arm64.
	Firmware Firmware
	// MemoryMB is 512 when 0.
	MemoryMB int
	Disks    []Disk
	// Kernel, Initrd and Cmdline are loaded by QEMU. They may be combined with UEFI as well.
	Kernel, Initrd, Cmdline string
	NICs                    []NIC
	// Watchdog adds an i6300esb, which resets the machine when it expires.
	Watchdog bool
	// Vars is the file with the UEFI variables: made when it does not exist, kept. Empty: a store that lives as long as
	// the Machine.
	Vars string
	// Clock sets the machine's clock at power on, in UTC; zero: the host's time. QEMU keeps the distance to the host's
	// in 32 bits, so that it reaches 68 years to either side.
	Clock time.Time
	// Console gets every byte of the serial console as it comes. It must not block for long.
	Console io.Writer
	// Accel is "tcg" (emulation), "kvm", or empty: KVM when a machine of this shape was seen to boot with it, else TCG.
	Accel string
}

// withDefaults fills in what is empty and refuses what cannot be started.
func (c Config) withDefaults() (Config, error) {
	c.Name, c.Arch, c.MemoryMB = cmp.Or(c.Name, "machine"), cmp.Or(c.Arch, X86_64), cmp.Or(c.MemoryMB, 512)
	switch {
	case c.Firmware != "":
	case c.Kernel != "":
		c.Firmware = Bare
	case c.Arch == X86_64:
		c.Firmware = BIOS
	default:
		c.Firmware = UEFI
	}
	for i := range c.Disks {
		c.Disks[i].Bus = cmp.Or(c.Disks[i].Bus, Virtio)
		c.Disks[i].Sector = cmp.Or(c.Disks[i].Sector, 512)
	}
	for i := range c.NICs {
		c.NICs[i].Model = cmp.Or(c.NICs[i].Model, "virtio-net-pci")
		if c.NICs[i].MAC == nil {
			c.NICs[i].MAC = macFor(c.Name, i)
		}
	}
	for _, r := range slices.Concat(c.rules(), c.deviceRules()) {
		if r.broken {
			return c, fmt.Errorf("machine %q: %s", c.Name, fmt.Sprintf(r.problem, r.args...))
		}
	}
	return c, nil
}

// rule is one thing that a Config must not be: problem, a format for args, says so.
type rule struct {
	broken  bool
	problem string
	args    []any
}

func (c Config) rules() []rule {
	ahead := c.Clock.Unix() - time.Now().Unix()
	return []rule{
		{c.Arch != X86_64 && c.Arch != ARM64, "architecture %q is not known; use %s or %s", []any{c.Arch, X86_64, ARM64}},
		{c.Firmware != BIOS && c.Firmware != UEFI && c.Firmware != Bare, "firmware %q is not known; use bios, uefi or bare", []any{c.Firmware}},
		{c.Firmware == BIOS && c.Arch != X86_64, "%s has no BIOS; use uefi", []any{c.Arch}},
		{c.Firmware == Bare && c.Kernel == "", "bare firmware needs a kernel", nil},
		{c.Kernel == "" && (c.Initrd != "" || c.Cmdline != ""), "an initrd or a command line needs a kernel beside it", nil},
		{c.Vars != "" && c.Firmware != UEFI, "only uefi has a variable store", nil},
		{c.Accel != "" && c.Accel != "tcg" && c.Accel != "kvm", "acceleration %q is not known; use tcg, kvm, or nothing", []any{c.Accel}},
		{!c.Clock.IsZero() && (ahead > math.MaxInt32 || ahead < math.MinInt32),
			"QEMU cannot set a clock more than 68 years away, to %s", []any{c.Clock.UTC().Format(time.RFC3339)}},
		{c.MemoryMB < 0, "%d MB of memory is not possible", []any{c.MemoryMB}},
	}
}

func (c Config) deviceRules() (rules []rule) {
	for _, d := range c.Disks {
		rules = append(rules,
			rule{(d.Path == "") == (d.NBD == ""), "a disk needs either a path or a server's socket", nil},
			rule{d.NBD != "" && (d.Overlay != "" || d.ReadOnly), "disk %s: overlays and protection are the server's", []any{d.NBD}},
			rule{d.ReadOnly && d.Overlay != "", "disk %s cannot be read-only and kept in an overlay", []any{d.Path}},
			rule{d.Bus == SATA && c.Arch != X86_64, "%s has no SATA; use virtio, usb or nvme", []any{c.Arch}},
			rule{d.Sector != 512 && d.Sector != 4096, "a disk cannot have sectors of %d bytes; use 512 or 4096", []any{d.Sector}},
			rule{d.Sector == 4096 && (c.Firmware == BIOS || d.Bus == SATA), "sectors of 4096 bytes need UEFI and virtio, usb or nvme", nil},
			rule{!slices.Contains([]Bus{Virtio, USB, NVMe, SATA}, d.Bus), "bus %q is not known; use virtio, usb, nvme or sata", []any{d.Bus}})
	}
	for i, n := range c.NICs {
		rules = append(rules, rule{n.Segment == nil, "NIC %d is on no segment", []any{i}},
			rule{n.Boot && (c.Firmware != BIOS || n.Absent), "NIC %d cannot boot: only a BIOS starts the ROM of a card, of one that is there", []any{i}},
			rule{n.Absent && n.Unplugged, "NIC %d is not there at power-on: it has no cable to pull", []any{i}})
	}
	return rules
}

// macFor keeps a machine's MAC the same over runs, so that captures can be compared. 52:54:00 is what QEMU uses.
func macFor(name string, nic int) net.HardwareAddr {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", name, nic))
	return net.HardwareAddr{0x52, 0x54, 0, sum[0], sum[1], sum[2]}
}
