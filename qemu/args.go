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
	for i, n := range c.NICs {
		// No option ROM: SeaBIOS would spend seconds on network boot once the disk has failed, and the ROM is slow to load.
		a = append(a, "-netdev", fmt.Sprintf("stream,id=n%d,server=off,addr.type=fd,addr.str=%d", i, firstFD+1+i),
			"-device", fmt.Sprintf("virtio-net-pci,id=nic%d,netdev=n%d,mac=%s,romfile=", i, i, n.MAC))
	}
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

func diskArgs(disks []Disk, files []diskFile) []string {
	var a []string
	buses := map[Bus]bool{}
	for i, d := range disks {
		f := files[i]
		drive := fmt.Sprintf("if=none,id=d%d,format=%s,file=%s", i, f.format, opt(f.path))
		switch {
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
		a = append(a, "-drive", drive, "-device", fmt.Sprintf("%s,drive=d%d,bootindex=%d", device, i, i+1)) // 0 is taken by -kernel
	}
	return a
}

// opt quotes a value inside a QEMU option: a comma is written twice.
func opt(s string) string { return strings.ReplaceAll(s, ",", ",,") }
