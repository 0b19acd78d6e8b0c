package kernel

import "fmt"

// Board is a computer whose firmware starts a kernel of its own, and neither knows
// BIOS nor UEFI. Its disk is that of its arch with more files on the boot partition:
// what runs beside the kernel, and what is served and mirrored, is the same release.
type Board struct {
	Name string
	Arch string

	// Kernel and Firmware are Go modules, pinned in go.mod; the files of each that
	// the boot partition gets, by patterns of path.Match, under their own names.
	Kernel, Firmware           string
	KernelFiles, FirmwareFiles []string
	// Image is the file of Kernel that is the kernel, and Started its name on the
	// boot partition.
	Image, Started string

	// Consoles as Kernel.Consoles. "serial0" is replaced by the board's firmware
	// with the name of the serial port that it has set up.
	Consoles []string
	// Config is config.txt, which the firmware reads.
	Config string
}

// raspberryPi is the Raspberry Pi 3, 4, 5, their compute modules and the Zero 2. Its
// firmware reads FAT and MBR, takes the device tree of its board from a file, and
// hands over what stands in cmdline.txt.
// Source: https://www.raspberrypi.com/documentation/computers/config_txt.html
var raspberryPi = Board{
	Name: "rpi", Arch: "arm64",
	Kernel: "github.com/gokrazy/kernel.rpi", KernelFiles: []string{"bcm2710-*.dtb", "bcm2711-*.dtb", "bcm2712*.dtb"},
	Image: "vmlinuz", Started: "kernel8.img",
	Firmware: "github.com/gokrazy/firmware", FirmwareFiles: []string{"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat", "LICENSE.broadcom"},
	Consoles: []string{"tty1", "serial0,115200"},
	Config:   "arm_64bit=1\nkernel=kernel8.img\nenable_uart=1\n",
}

// DiskCmdline is what stands in cmdline.txt, with the root partition by its GPT
// identifier.
func (b Board) DiskCmdline(partUUID string) string {
	return Kernel{Consoles: b.Consoles}.DiskCmdline(cmdline, partUUID)
}

// BoardFor returns the board of a name: rpi.
func BoardFor(name string) (Board, error) {
	if name == raspberryPi.Name {
		return raspberryPi, nil
	}
	return Board{}, fmt.Errorf("no board %q: there is %s", name, raspberryPi.Name)
}
