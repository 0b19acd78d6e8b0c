package qemu

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"net"
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

// Bus is how a disk hangs on the machine.
type Bus string

// The buses. A Virtio disk is /dev/vda, the others /dev/sda and /dev/nvme0n1.
const (
	Virtio Bus = "virtio"
	USB    Bus = "usb"
	NVMe   Bus = "nvme"
	SATA   Bus = "sata" // x86_64 only
)

// Disk is one disk. Unless told otherwise the machine writes into an overlay that lives as long as the Machine: it
// survives Kill and PowerCycle, the file at Path is never changed, and many machines can share it.
type Disk struct {
	// Path is a raw or qcow2 file; which of the two, its first bytes tell.
	Path string
	// Overlay, when set, is the qcow2 file the machine writes into instead. It is made when it does not exist, and stays.
	Overlay string
	// InPlace makes the machine write into Path itself.
	InPlace bool
	// ReadOnly gives the machine a disk it cannot write.
	ReadOnly bool
	// Bus is Virtio when empty.
	Bus Bus
}

// NIC is one virtio network card.
type NIC struct {
	Segment *Segment
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
	// Screen adds a VGA card (a plain framebuffer on arm64), for Machine.Screen and Machine.ScreenText.
	Screen bool
	// Console gets every byte of the serial console as it comes. It must not block for long.
	Console io.Writer
	// Accel is "tcg" (emulation), "kvm", or empty: KVM when a machine of this shape was seen to boot with it, else TCG.
	Accel string
	// Extra arguments for QEMU, after all others.
	Extra []string
}

func (c Config) withDefaults() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return c, fmt.Errorf("machine %q: %s", c.Name, fmt.Sprintf(format, args...))
	}
	if c.Name == "" {
		c.Name = "machine"
	}
	switch c.Arch {
	case "":
		c.Arch = X86_64
	case X86_64, ARM64:
	default:
		return bad("architecture %q is not known; use %s or %s", c.Arch, X86_64, ARM64)
	}
	switch c.Firmware {
	case "":
		switch {
		case c.Kernel != "":
			c.Firmware = Bare
		case c.Arch == X86_64:
			c.Firmware = BIOS
		default:
			c.Firmware = UEFI
		}
	case BIOS:
		if c.Arch != X86_64 {
			return bad("%s has no BIOS; use uefi", c.Arch)
		}
	case Bare:
		if c.Kernel == "" {
			return bad("bare firmware needs a kernel")
		}
	case UEFI:
	default:
		return bad("firmware %q is not known; use bios, uefi or bare", c.Firmware)
	}
	if c.Kernel == "" && (c.Initrd != "" || c.Cmdline != "") {
		return bad("an initrd or a command line needs a kernel beside it")
	}
	if c.Vars != "" && c.Firmware != UEFI {
		return bad("only uefi has a variable store")
	}
	switch c.Accel {
	case "", "tcg", "kvm":
	default:
		return bad("acceleration %q is not known; use tcg, kvm, or nothing", c.Accel)
	}
	if d := c.Clock.Unix() - time.Now().Unix(); !c.Clock.IsZero() && (d > math.MaxInt32 || d < math.MinInt32) {
		return bad("QEMU cannot set a clock more than 68 years away, to %s", c.Clock.UTC().Format(time.RFC3339))
	}
	if c.MemoryMB == 0 {
		c.MemoryMB = 512
	}
	if c.MemoryMB < 0 {
		return bad("%d MB of memory is not possible", c.MemoryMB)
	}
	for i, d := range c.Disks {
		switch {
		case d.Overlay != "" && d.InPlace, d.ReadOnly && (d.InPlace || d.Overlay != ""):
			return bad("disk %s can be only one of kept in an overlay, written in place, read-only", d.Path)
		case d.Bus == "":
			c.Disks[i].Bus = Virtio
		case d.Bus == SATA && c.Arch != X86_64:
			return bad("%s has no SATA; use virtio, usb or nvme", c.Arch)
		case d.Bus != Virtio && d.Bus != USB && d.Bus != NVMe && d.Bus != SATA:
			return bad("bus %q is not known; use virtio, usb, nvme or sata", d.Bus)
		}
	}
	for i, n := range c.NICs {
		if n.Segment == nil {
			return bad("NIC %d is on no segment", i)
		}
		if n.MAC == nil {
			c.NICs[i].MAC = macFor(c.Name, i)
		}
	}
	return c, nil
}

// macFor keeps a machine's MAC the same over runs, so that captures can be compared. 52:54:00 is what QEMU uses.
func macFor(name string, nic int) net.HardwareAddr {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", name, nic))
	return net.HardwareAddr{0x52, 0x54, 0, sum[0], sum[1], sum[2]}
}
