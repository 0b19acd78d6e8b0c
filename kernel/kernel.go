// Package kernel says which Linux kernel an arch boots, with which command line
// and on which consoles. The kernels
// are Go modules of the gokrazy project, pinned in go.mod like everything else,
// so the module proxy and go.sum vouch for their bytes.
package kernel

import (
	"fmt"
	"strings"
)

// Kernel is what one arch boots.
type Kernel struct {
	Arch   string // as people write it
	GOARCH string // as Go writes it
	Module string // the Go module whose folder holds File
	File   string // bootable by the firmware's loader as it is

	// Compressed says that File travels zstd-compressed in a release. The
	// arm64 kernel is a raw image of 59 MB, and neither UEFI nor
	// kexec unpacks it; the x86_64 one unpacks itself.
	Compressed bool

	// Options are those of this kernel alone. The arm64 one reserves 32 MiB for
	// devices that need much memory in one piece, like screens, and cannot load
	// another kernel into that.
	Options string

	// Consoles, the last of which is /dev/console. They belong to the machine
	// and not to the release: a jump passes on those of the running kernel.
	Consoles []string
}

// cmdline is signed with each release and the same for both arches.
//
//   - panic, oops: an unattended machine restarts
//   - loglevel=6: notices, which is what init's lines are, reach the console
//   - printk.devkmsg=on: init's lines are not rate-limited
//   - watchdog.stop_on_reboot=0: an armed watchdog runs on over the jump
const cmdline = "panic=10 oops=panic loglevel=6 printk.devkmsg=on watchdog.stop_on_reboot=0"

// Init is PID 1 of the rootfs; gok puts it there.
const Init = "/gokrazy/init"

var kernels = []Kernel{
	{
		Arch: "x86_64", GOARCH: "amd64", Module: "github.com/gokrazy/kernel.amd64", File: "vmlinuz",
		Consoles: []string{"tty0", "ttyS0,115200"},
	},
	{
		Arch: "arm64", GOARCH: "arm64", Module: "github.com/gokrazy/kernel.arm64", File: "vmlinuz", Compressed: true, Options: "cma=4M",
		Consoles: []string{"tty0", "ttyAMA0,115200"},
	},
}

// For returns the kernel of an arch, x86_64 or arm64.
func For(arch string) (Kernel, error) {
	for _, k := range kernels {
		if k.Arch == arch {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("no kernel for %s", arch)
}

// Cmdline is the command line that goes into the manifest.
func (k Kernel) Cmdline() string { return strings.TrimSpace(cmdline + " " + k.Options) }

// ConsoleArgs are the console= options of this arch.
func (k Kernel) ConsoleArgs() string {
	return "console=" + strings.Join(k.Consoles, " console=")
}

// DiskCmdline is what the boot loader of a disk says: the release's own
// options, the consoles, and the root partition by its GPT identifier. The
// disk may appear late (USB), so the kernel waits for it, and not longer. "gpt"
// has it take the copy of the partition table at the end of a disk whose first
// one is damaged, which it does not do by itself.
func (k Kernel) DiskCmdline(cmdline, partUUID string) string {
	return fmt.Sprintf("%s %s root=PARTUUID=%s rootfstype=squashfs ro rootwait=30 gpt init=%s", cmdline, k.ConsoleArgs(), partUUID, Init)
}
