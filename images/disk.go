package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"phase/appliance/base/tool"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
	"phase/kernel"
)

const mebi = 1 << 20

// Files on the boot partition, beside the artifacts under their usual names.
const (
	bootImage    = "Image" // the kernel as UEFI starts it, where the artifact is compressed
	cmdlineBytes = gpt.Sector512
)

// efiNames are where UEFI looks for a boot loader on a disk that no boot entry names.
var efiNames = map[string]string{"x86_64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}

// disk writes the image of a whole disk, for a board when one is given. Partitions that have no content here
// stay empty.
func (s Spec) disk(r Result, path string, board *kernel.Board) error {
	root := gpt.Table{ID: r.DiskID}.PartitionID(disk.Root).String()
	files, err := s.bootFiles(r, root)
	if err == nil && board != nil {
		files, err = s.boardFiles(*board, files, root)
	}
	if err != nil {
		return err
	}
	table := disk.NewTable(r.DiskID, map[int]int64{disk.Boot: bootBytes(files), disk.Root: r.Manifest.Artifacts["rootfs"].Size})
	copied := func(file string) func(*os.File, gpt.Partition) error {
		return func(f *os.File, to gpt.Partition) error { return copySparse(f, to, file) }
	}
	contents := map[int]func(*os.File, gpt.Partition) error{
		disk.Boot: func(f *os.File, to gpt.Partition) error { return s.writeBoot(f, to, r.DiskID, files) },
		disk.Root: copied(r.Folder + "/" + layout.FileName("rootfs")),
		disk.Perm: copied(s.Pieces.path(piecePerm)),
	}
	return replace(path, func(f *os.File) error {
		if err := f.Truncate(table.Size); err != nil {
			return err
		}
		for _, p := range table.Partitions {
			if write := contents[p.Number]; write != nil {
				if err := write(f, p); err != nil {
					return fmt.Errorf("partition %s: %w", p.Name, err)
				}
			}
		}
		return writeTable(f, table)
	})
}

// bootFiles are those of the boot partition, the kernel first: the BIOS loader
// reads it from there.
func (s Spec) bootFiles(r Result, partUUID string) ([]fat.File, error) {
	k := s.Pieces.Kernel
	cmdline := k.DiskCmdline(r.Manifest.Cmdline, partUUID)
	if len(cmdline) >= cmdlineBytes {
		return nil, fmt.Errorf("the command line has %d bytes, the BIOS loader reads %d", len(cmdline), cmdlineBytes-1)
	}
	conf, err := Conf(s.Conf)
	if err != nil {
		return nil, err
	}
	kernelName := layout.FileName("kernel")
	started := kernelName
	if k.Compressed {
		started = bootImage
	}
	padded := make([]byte, cmdlineBytes)
	copy(padded, cmdline)
	artifacts := []struct{ name, file string }{
		{kernelName, r.Folder + "/" + kernelName},
		{layout.FileName("initramfs"), r.Folder + "/" + layout.FileName("initramfs")},
		{efiNames[k.Arch], s.Pieces.path(pieceEFI)},
	}
	if k.Compressed {
		artifacts = append(artifacts, struct{ name, file string }{bootImage, s.Pieces.path(pieceImage)})
	}
	var files []fat.File
	for _, f := range artifacts {
		file, err := onDisk(f.name, f.file)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	files = append(files, inMemory(disk.CmdlineFile, padded), inMemory("loader/loader.conf", []byte(loaderConf)))
	for _, e := range menu {
		text := fmt.Sprintf("title %s\nlinux /%s\noptions %s\n", e.title, started, strings.TrimSpace(cmdline+" "+e.words))
		files = append(files, inMemory(e.file, []byte(text)))
	}
	return append(files, inMemory(disk.ConfFile, conf), inMemory(layout.ManifestFile, r.Envelope)), nil
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

func inMemory(path string, data []byte) fat.File {
	return fat.File{Path: path, Size: int64(len(data)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// bootBytes is how many bytes a boot partition of some files has at least.
// Nothing is ever added to one, so there is only what its tables and round
// clusters take.
func bootBytes(files []fat.File) int64 {
	var sum int64
	for _, f := range files {
		sum += (f.Size + 8191) / 8192 * 8192
	}
	return max(sum+mebi/2, 4*mebi)
}

func (s Spec) writeBoot(f *os.File, part gpt.Partition, id gpt.ID, files []fat.File) error {
	where, err := fat.Write(io.NewOffsetWriter(f, part.Start), fat.Volume{
		Sector: gpt.Sector512, Size: part.Size, Start: part.Start, Label: "PHASE", Serial: disk.Serial(id), Time: s.Created,
	}, files)
	if err != nil || s.Pieces.Kernel.Arch != "x86_64" {
		return err
	}
	return s.writeLoader(f, part, where)
}

// writeLoader puts the BIOS loader in sector 0 and tells it, in its last eight
// bytes, the sectors of the kernel and of the command line.
func (s Spec) writeLoader(f *os.File, part gpt.Partition, where map[string]fat.Extent) error {
	loader, err := os.ReadFile(s.Pieces.path(pieceLoader))
	if err != nil {
		return err
	}
	sector := func(name string) uint32 {
		return uint32((part.Start + where[name].Offset) / gpt.Sector512)
	}
	binary.LittleEndian.PutUint32(loader[432:], sector(layout.FileName("kernel")))
	binary.LittleEndian.PutUint32(loader[436:], sector(disk.CmdlineFile))
	_, err = f.WriteAt(loader, 0)
	return err
}

// writeTable puts the partition table around what is in sector 0 already.
func writeTable(f *os.File, t gpt.Table) error {
	loader := make([]byte, gpt.LoaderSize)
	if _, err := f.ReadAt(loader, 0); err != nil {
		return err
	}
	head, tail, err := t.Encode(loader)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(tail, t.Size-t.Tail()); err != nil {
		return err
	}
	_, err = f.WriteAt(head, 0)
	return err
}

// copySparse copies a file into a partition and leaves holes where it is empty.
func copySparse(to *os.File, part gpt.Partition, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if int64(len(data)) > part.Size {
		return fmt.Errorf("%s does not fit its partition", file)
	}
	at, empty := part.Start, make([]byte, 1<<16)
	for block := range slices.Chunk(data, len(empty)) {
		if !bytes.Equal(block, empty[:len(block)]) {
			if _, err := to.WriteAt(block, at); err != nil {
				return err
			}
		}
		at += int64(len(block))
	}
	return nil
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

// qcow2Bytes is the size of the disk that a virtual machine sees: the persistent
// partition grows to its end at the first boot, and has room for three releases
// and one that is being loaded. What is not written takes no room in the file.
const qcow2Bytes = 512 * mebi

// toQCOW2 compresses a disk image for virtual machines. zlib in clusters of 64
// KiB: measured smaller than zstd here, and every program that reads QCOW2
// reads it. One coroutine in order, so that the bytes are always the same.
func toQCOW2(ctx context.Context, from, to string) error {
	return replace(to, func(f *os.File) error {
		for _, args := range [][]string{
			{"convert", "-c", "-m", "1", "-f", "raw", "-O", "qcow2", from, f.Name()},
			{"resize", "-q", "-f", "qcow2", f.Name(), fmt.Sprint(qcow2Bytes)},
		} {
			if _, err := (tool.Command{Name: "qemu-img", Args: args}).Run(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
