// Package diskimage lays out the disk image of a release: a boot partition with
// boot loaders, kernel, initramfs, settings and manifest, the rootfs, and an empty
// persistent partition. It is read where it is asked for and never made as a
// whole, so that a node can send its own to a browser. The same release gives the
// same bytes wherever it is laid out.
package diskimage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/machine/disk/parts"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
	"phase/kernel"
)

// Image is the kernel of the boot partition as UEFI starts it, where the artifact
// is compressed.
const Image = "Image"

// CmdlineBytes is the size of disk.CmdlineFile: one sector, as the BIOS loader
// reads it.
const CmdlineBytes = gpt.Sector512

// EFIPath is where UEFI looks for a boot loader on a disk that no boot entry
// names, by the arch.
var EFIPath = map[string]string{"x86_64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}

// Files of the rootfs that an image is made of beside the artifacts.
const (
	PermFile   = "etc/phase/perm.ext4" // the persistent partition, empty, of disk.PermBytes
	EFIFile    = "etc/phase/boot.efi"  // the UEFI boot loader
	LoaderFile = "etc/phase/mbr"       // the BIOS boot loader, of gpt.LoaderSize bytes
)

// Bytes are some that lie somewhere.
type Bytes interface {
	io.ReaderAt
	Size() int64
}

// Source is all that an image is made of.
type Source struct {
	Kernel   kernel.Kernel
	Cmdline  string    // of the manifest
	Manifest []byte    // the envelope
	ID       gpt.ID    // of the disk
	Conf     []byte    // of phase.conf, as Conf makes it
	Time     time.Time // of the files

	Artifact map[string]Bytes // kernel, initramfs and rootfs, as they travel
	Image    Bytes            // the kernel as UEFI starts it; nil where the artifact is that
	Perm     Bytes            // what is in PermFile
	EFI      Bytes            // what is in EFIFile
	Loader   []byte           // what is in LoaderFile
}

func (s Source) root() string { return gpt.Table{ID: s.ID}.PartitionID(disk.Root).String() }

// Files are those of the boot partition, the kernel first: the BIOS loader reads
// it from there.
func (s Source) Files() ([]fat.File, error) {
	if len(s.Conf) != disk.ConfBytes {
		return nil, fmt.Errorf("the settings have %d bytes, a boot partition has room for exactly %d", len(s.Conf), disk.ConfBytes)
	}
	cmdline := s.Kernel.DiskCmdline(s.Cmdline, s.root())
	if len(cmdline) >= CmdlineBytes {
		return nil, fmt.Errorf("the command line has %d bytes, the BIOS loader reads %d", len(cmdline), CmdlineBytes-1)
	}
	padded := make([]byte, CmdlineBytes)
	copy(padded, cmdline)
	kernelName := layout.FileName("kernel")
	started := kernelName
	files := []fat.File{
		file(kernelName, s.Artifact["kernel"]),
		file(layout.FileName("initramfs"), s.Artifact["initramfs"]),
		file(EFIPath[s.Kernel.Arch], s.EFI),
	}
	if s.Image != nil {
		started = Image
		files = append(files, file(Image, s.Image))
	}
	files = append(files, InMemory(disk.CmdlineFile, padded), InMemory("loader/loader.conf", []byte(loaderConf)))
	for _, e := range menu {
		text := fmt.Sprintf("title %s\nlinux /%s\noptions %s\n", e.title, started, strings.TrimSpace(cmdline+" "+e.words))
		files = append(files, InMemory(e.file, []byte(text)))
	}
	return append(files, InMemory(disk.ConfFile, s.Conf), InMemory(layout.ManifestFile, s.Manifest)), nil
}

// menu is that of the UEFI loader, which sorts it by the names of the files: a
// digit held at power-on takes the entry with that number, as in the question of
// phase.menu=. The first says no mode, so that phase.conf does.
var menu = []struct{ file, title, words string }{
	{disk.EntryFile, "Phase", ""},
	{disk.EntryFolder + "phase.local.conf", "Phase, local (this network only)", "phase.mode=local"},
	{disk.EntryFolder + "phase.private.conf", "Phase, private (nothing is written)", "phase.mode=private"},
}

// loaderConf has the UEFI loader start the first entry at once, unless a key is
// held; by itself it would take the last one. The three entries are all of the
// menu.
const loaderConf = "default phase.conf\ntimeout 0\neditor no\nauto-firmware no\n"

func file(path string, from Bytes) fat.File {
	return fat.File{Path: path, Size: from.Size(), From: from}
}

// InMemory is a file of a boot partition.
func InMemory(path string, data []byte) fat.File { return file(path, bytes.NewReader(data)) }

// Lay puts an image together whose boot partition holds the files: those of
// Files, and what a board's firmware reads besides.
func (s Source) Lay(files []fat.File) (image parts.Image, err error) {
	rootfs := s.Artifact["rootfs"]
	table := disk.NewTable(s.ID, map[int]int64{disk.Boot: bootBytes(files), disk.Root: rootfs.Size()})
	boot, err := table.Partition(disk.Boot)
	if err != nil {
		return image, err
	}
	held, where, err := fat.Lay(fat.Volume{
		Sector: gpt.Sector512, Size: boot.Size, Start: boot.Start, Label: "PHASE", Serial: disk.Serial(s.ID), Time: s.Time,
	}, files)
	if err != nil {
		return image, fmt.Errorf("partition %s: %w", boot.Name, err)
	}
	loader, err := s.loader(boot, where)
	if err != nil {
		return image, err
	}
	head, tail, err := table.Encode(loader)
	if err != nil {
		return image, err
	}
	list := append(held.Parts(boot.Start), inMemory(0, head), inMemory(table.Size-table.Tail(), tail))
	for number, content := range map[int]Bytes{disk.Root: rootfs, disk.Perm: s.Perm} {
		p, err := table.Partition(number)
		if err != nil {
			return image, err
		}
		if content.Size() > p.Size {
			return image, fmt.Errorf("partition %s: it has %d bytes, and there are %d to fill it with", p.Name, p.Size, content.Size())
		}
		list = append(list, parts.Part{Start: p.Start, Size: content.Size(), From: content})
	}
	return parts.New(table.Size, list...)
}

func inMemory(at int64, data []byte) parts.Part {
	return parts.Part{Start: at, Size: int64(len(data)), From: bytes.NewReader(data)}
}

// loader is the BIOS loader, which goes in sector 0: its last eight bytes tell it
// the sectors of the kernel and of the command line.
func (s Source) loader(boot gpt.Partition, where map[string]fat.Extent) ([]byte, error) {
	loader := make([]byte, gpt.LoaderSize)
	if s.Kernel.Arch != "x86_64" {
		return loader, nil
	}
	if len(s.Loader) != len(loader) {
		return nil, fmt.Errorf("the boot loader for BIOS has %d bytes, not %d", len(s.Loader), len(loader))
	}
	copy(loader, s.Loader)
	for at, name := range map[int]string{432: layout.FileName("kernel"), 436: disk.CmdlineFile} {
		binary.LittleEndian.PutUint32(loader[at:], uint32((boot.Start+where[name].Offset)/gpt.Sector512))
	}
	return loader, nil
}

// bootBytes is how many bytes a boot partition of some files has at least.
// Nothing is ever added to one, so there is only what its tables and round
// clusters take.
func bootBytes(files []fat.File) int64 {
	var sum int64
	for _, f := range files {
		sum += (f.Size + 8191) / 8192 * 8192
	}
	return max(sum+1<<19, 4<<20)
}

// Conf renders phase.conf: settings as on the kernel command line, one a line,
// in a file that always has the same size, so that a flashed stick's settings
// can be replaced where they lie. It refuses what the machine would report.
func Conf(lines []string) ([]byte, error) {
	text := "# Settings of this machine, one a line, as on the kernel command line:\n# phase.mode=local\n"
	for _, s := range lines {
		if strings.ContainsAny(s, "\r\n") {
			return nil, fmt.Errorf("setting %q has more than one line", s)
		}
		text += s + "\n"
	}
	if len(text) > disk.ConfBytes {
		return nil, fmt.Errorf("the settings need %d bytes, phase.conf has %d", len(text), disk.ConfBytes)
	}
	if _, problems := settings.Parse("", text); len(problems) > 0 {
		return nil, fmt.Errorf("phase.conf: %s", problems[0])
	}
	return []byte(text + strings.Repeat("\n", disk.ConfBytes-len(text))), nil
}
