package qemu

import (
	"fmt"
	"strings"
)

// files are what a machine's power-ons share: where its disks and variables are, after overlays were made.
type files struct {
	disks []diskFile
	code  string // UEFI firmware; empty without
	vars  string // qcow2
}

type diskFile struct {
	path, format string
	readOnly     bool
	throwaway    bool
	socket       bool // path is that of a server
}

// firstFD is the number of the first file the process hands to QEMU (after stdin, stdout, stderr): the monitor. The
// NICs follow.
const firstFD = 3

// arguments is QEMU's command line for a machine. A device is there only because something needs it: what the
// firmware and the kernel need not probe is time.
func arguments(c Config, f files) []string {
	a := []string{"-nodefaults", "-no-user-config", "-display", "none", "-name", opt(c.Name), "-S",
		"-m", fmt.Sprint(c.MemoryMB), "-smp", "1",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", firstFD), "-mon", "chardev=monitor,mode=control",
		"-device", "virtio-rng-pci"}
	a = append(a, machineArgs(c.Arch, c.Accel)...)
	if c.Firmware == UEFI {
		a = append(a, "-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+opt(f.code),
			// Flash has no flush: without write-through a power cut would lose what qcow2 keeps in memory.
			"-drive", "if=pflash,unit=1,format=qcow2,cache.writeback=off,cache.no-flush=on,file="+opt(f.vars))
	}
	if c.Kernel != "" {
		a = append(a, "-kernel", c.Kernel)
		if c.Initrd != "" {
			a = append(a, "-initrd", c.Initrd)
		}
		if c.Cmdline != "" {
			a = append(a, "-append", c.Cmdline)
		}
	}
	a = append(a, diskArgs(c.Disks, f.disks)...)
	a = append(a, nicArgs(c.NICs)...)
	if c.Watchdog {
		a = append(a, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	if !c.Clock.IsZero() {
		a = append(a, "-rtc", "base="+c.Clock.UTC().Format("2006-01-02T15:04:05"))
	}
	return a
}

// machineArgs chooses the board and the CPU. Under emulation the CPU decides how fast SHA-256 runs: emulated AVX2 makes
// Go choose the code that is slower here (1.3 s for 40 MB without, 1.7 s with). The rest of "max" stays: qemu64 lacks
// SSE4.1, without which wazero only interprets, and the kernel unpacks itself faster with BMI. Five-level page tables
// (la57) are one more step for each page walk. On arm64 emulating "max" costs seconds for pointer authentication.
func machineArgs(arch, accel string) []string {
	var board, cpu, translated string
	switch arch {
	case X86_64:
		// The more translated code of the kernel before is kept, in MB, the longer a restart takes that writes over it: up to
		// 20 s with 256, never seen with 48. A first boot takes the same time with both.
		board, cpu, translated = "q35,smbus=off,sata=off,usb=off", "max,-avx2,-la57", "48"
	case ARM64:
		board, cpu, translated = "virt", "cortex-a72", "128"
	}
	if accel == "kvm" {
		return []string{"-machine", board, "-cpu", "host", "-accel", "kvm"}
	}
	return []string{"-machine", board, "-cpu", cpu, "-accel", "tcg,tb-size=" + translated}
}

func nicArgs(nics []NIC) (a []string) {
	usb := false
	for i, n := range nics {
		a = append(a, "-netdev", fmt.Sprintf("stream,id=n%d,server=off,addr.type=fd,addr.str=%d", i, firstFD+1+i))
		onUSB := strings.HasPrefix(n.Model, "usb-")
		switch {
		case onUSB && !usb:
			usb = true
			a = append(a, "-device", "qemu-xhci,id=nics")
		case n.Absent && !onUSB:
			// A slot with a switch for its power waits for a driver of slots, which no kernel of a node has; behind
			// one without, a card is found by a look at the bus. On x86_64 ACPI switches them all.
			a = append(a, "-device", fmt.Sprintf("pcie-root-port,id=%s,chassis=%d,power_controller_present=off", slotID(i), i+1))
		}
		if !n.Absent {
			var args []string
			for _, o := range n.device(i) {
				args = append(args, o.key+"="+o.value)
			}
			a = append(a, "-device", n.Model+","+strings.Join(args, ","))
		}
	}
	return a
}

type option struct{ key, value string }

// device are the options of NIC i. No option ROM unless it is asked for: SeaBIOS would spend seconds on network boot once
// the disk has failed, and the ROM is slow to load.
func (n NIC) device(i int) []option {
	o := []option{{"id", nicID(i)}, {"netdev", fmt.Sprintf("n%d", i)}, {"mac", n.MAC.String()}}
	switch {
	case strings.HasPrefix(n.Model, "usb-"):
		return append(o, option{"bus", "nics.0"})
	case n.Absent:
		o = append(o, option{"bus", slotID(i)})
	case n.Boot:
		return o
	}
	return append(o, option{"romfile", ""})
}

func slotID(nic int) string { return fmt.Sprintf("slot%d", nic) }

func nicID(nic int) string { return fmt.Sprintf("nic%d", nic) }

func diskArgs(disks []Disk, files []diskFile) []string {
	var a []string
	buses := map[Bus]bool{}
	for i, d := range disks {
		f := files[i]
		drive := fmt.Sprintf("if=none,id=d%d,%s", i, driveArgs(d, f))
		switch {
		case f.socket:
			drive = fmt.Sprintf("if=none,id=d%d,format=raw,cache=writeback,file.driver=nbd,file.server.type=unix,file.server.path=%s", i, opt(f.path))
		case f.readOnly:
			drive += ",readonly=on"
		case f.throwaway:
			// Flushing to the host's disk is lost time; the host's page cache survives a killed QEMU all the same.
			drive += ",cache=unsafe"
		}
		first := !buses[d.Bus]
		buses[d.Bus] = true
		device := ""
		switch d.Bus {
		case Virtio:
			device = "virtio-blk-pci"
		case USB:
			if first {
				a = append(a, "-device", "qemu-xhci,id=xhci")
			}
			device = "usb-storage,bus=xhci.0"
		case NVMe:
			device = fmt.Sprintf("nvme,serial=disk%d", i)
		case SATA:
			if first {
				a = append(a, "-device", "ahci,id=ahci")
			}
			device = fmt.Sprintf("ide-hd,bus=ahci.%d", i)
		}
		if d.Sector == 4096 {
			device += ",logical_block_size=4096,physical_block_size=4096"
		}
		a = append(a, "-drive", drive, "-device", fmt.Sprintf("%s,id=%s,drive=d%d,bootindex=%d", device, diskID(i), i, i+1)) // 0 is taken by -kernel
	}
	return a
}

// driveArgs says which file a disk is, and where it is broken.
func driveArgs(d Disk, f diskFile) string {
	if len(d.Bad) == 0 {
		return fmt.Sprintf("format=%s,file=%s", f.format, opt(f.path))
	}
	args := fmt.Sprintf("driver=blkdebug,image.driver=%s,image.file.driver=file,image.file.filename=%s", f.format, opt(f.path))
	for i, at := range d.Bad {
		args += fmt.Sprintf(",inject-error.%d.event=none,inject-error.%d.errno=5,inject-error.%d.sector=%d", i, i, i, at/512)
	}
	return args
}

// diskID is QEMU's name for the device of disk n.
func diskID(n int) string { return fmt.Sprintf("disk%d", n) }

// opt quotes a value inside a QEMU option: a comma is written twice.
func opt(s string) string { return strings.ReplaceAll(s, ",", ",,") }
