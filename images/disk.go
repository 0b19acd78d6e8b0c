package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
)

// Partitions of a disk. There is no third: gokrazy keeps a second root there,
// and here another release is tried from the store instead.
const (
	partBoot = 1
	partRoot = 2
	partPerm = 4
)

const mebi = 1 << 20

// Files on the boot partition, beside the artifacts under their usual names.
const (
	bootImage    = "Image"       // the kernel as UEFI starts it, where the artifact is compressed
	bootCmdline  = "cmdline.txt" // one sector, for the BIOS loader
	bootEntry    = "loader/entries/phase.conf"
	bootConf     = "phase.conf"
	confBytes    = 4096 // of phase.conf, always
	cmdlineBytes = gpt.SectorSize
)

var efiNames = map[string]string{"x86_64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}

// disk writes the image of a whole disk.
func (s Spec) disk(_ context.Context, r Result, path string) error {
	table := gpt.Table{ID: r.DiskID}
	files, err := s.bootFiles(r, table.PartitionID(partRoot).String())
	if err != nil {
		return err
	}
	rootfs := r.Folder + "/" + layout.FileName("rootfs")
	perm := s.Pieces.path(piecePerm)
	at := int64(mebi)
	place := func(number int, name string, kind gpt.ID, size int64) gpt.Partition {
		size = roundUp(size, mebi)
		p := gpt.Partition{Number: number, Name: name, Type: kind, First: at / gpt.SectorSize, Last: (at+size)/gpt.SectorSize - 1}
		at += size
		table.Partitions = append(table.Partitions, p)
		return p
	}
	bootPart := place(partBoot, "phase-boot", gpt.TypeEFI, bootBytes(files))
	rootPart := place(partRoot, "phase-root", gpt.TypeLinux, r.Manifest.Artifacts["rootfs"].Size)
	permPart := place(partPerm, "phase-perm", gpt.TypeLinux, permBytes)
	size := at + mebi // the copy of the table, and a round number
	table.Sectors = size / gpt.SectorSize
	return replace(path, 0o644, func(f *os.File) error {
		if err := f.Truncate(size); err != nil {
			return err
		}
		if err := s.writeBoot(f, bootPart, r.DiskID, files); err != nil {
			return err
		}
		for _, part := range []struct {
			file string
			to   gpt.Partition
		}{{rootfs, rootPart}, {perm, permPart}} {
			if err := copySparse(f, part.to, part.file); err != nil {
				return err
			}
		}
		return writeTable(f, table)
	})
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

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
	entry := fmt.Sprintf("title Phase\nlinux /%s\noptions %s\n", started, cmdline)
	padded := make([]byte, cmdlineBytes)
	copy(padded, cmdline)
	onDisk := []struct{ name, file string }{
		{kernelName, r.Folder + "/" + kernelName},
		{layout.FileName("initramfs"), r.Folder + "/" + layout.FileName("initramfs")},
		{efiNames[k.Arch], s.Pieces.path(pieceEFI)},
	}
	if k.Compressed {
		onDisk = append(onDisk, struct{ name, file string }{bootImage, s.Pieces.path(pieceImage)})
	}
	var files []fat.File
	for _, f := range onDisk {
		info, err := os.Stat(f.file)
		if err != nil {
			return nil, err
		}
		files = append(files, fat.File{Path: f.name, Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(f.file) }})
	}
	return append(files,
		inMemory(bootCmdline, padded), inMemory(bootEntry, []byte(entry)),
		// Nothing to choose from: no menu, no waiting.
		inMemory("loader/loader.conf", []byte("timeout 0\neditor no\n")),
		inMemory(bootConf, conf), inMemory(layout.ManifestFile, r.Envelope)), nil
}

func inMemory(path string, data []byte) fat.File {
	return fat.File{Path: path, Size: int64(len(data)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

// bootBytes is the size of a boot partition for some files. Nothing is ever
// added to one, so there is only what its tables and round clusters take.
func bootBytes(files []fat.File) int64 {
	var sum int64
	for _, f := range files {
		sum += roundUp(f.Size, 8192)
	}
	return max(roundUp(sum+mebi/2, mebi), 4*mebi)
}

func (s Spec) writeBoot(f *os.File, part gpt.Partition, id gpt.ID, files []fat.File) error {
	_, err := fat.Write(io.NewOffsetWriter(f, part.Offset()), fat.Volume{
		Size: part.Size(), Start: part.Offset(), Label: "PHASE", Serial: binary.LittleEndian.Uint32(serialBytes(id)), Time: s.Created,
	}, files)
	if err != nil || s.Pieces.Kernel.Arch != "x86_64" {
		return err
	}
	return s.writeLoader(f, part)
}

// serialOffset is where a FAT volume's serial number lies in it, and
// serialBytes the one that goes with a disk id.
const serialOffset = fat.SerialOffset

func serialBytes(id gpt.ID) []byte {
	d := id.Derive("fat")
	return d[:4]
}

// writeLoader puts the BIOS loader in sector 0 and tells it, in its last eight
// bytes, the sectors of the kernel and of the command line.
func (s Spec) writeLoader(f *os.File, part gpt.Partition) error {
	loader, err := os.ReadFile(s.Pieces.path(pieceLoader))
	if err != nil {
		return err
	}
	where, err := fat.Read(io.NewSectionReader(f, part.Offset(), part.Size()), part.Size())
	if err != nil {
		return err
	}
	sector := func(name string) uint32 {
		return uint32((part.Offset() + where[name].Offset) / gpt.SectorSize)
	}
	binary.LittleEndian.PutUint32(loader[432:], sector(layout.FileName("kernel")))
	binary.LittleEndian.PutUint32(loader[436:], sector(bootCmdline))
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
	if _, err := f.WriteAt(tail, (t.Sectors-gpt.TailSectors)*gpt.SectorSize); err != nil {
		return err
	}
	_, err = f.WriteAt(head, 0)
	return err
}

// copySparse copies a file into a partition and leaves holes where it is empty.
func copySparse(to *os.File, part gpt.Partition, file string) error {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	block, empty := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := int64(0); ; {
		n, err := io.ReadFull(from, block)
		if n > 0 && !bytes.Equal(block[:n], empty[:n]) {
			if at+int64(n) > part.Size() {
				return fmt.Errorf("%s does not fit its partition", file)
			}
			if _, err := to.WriteAt(block[:n], part.Offset()+at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
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
	if len(text) > confBytes {
		return nil, fmt.Errorf("the settings need %d bytes, phase.conf has %d", len(text), confBytes)
	}
	if _, problems := settings.Parse("", text); len(problems) > 0 {
		return nil, fmt.Errorf("phase.conf: %s", problems[0])
	}
	return []byte(text + strings.Repeat("\n", confBytes-len(text))), nil
}
