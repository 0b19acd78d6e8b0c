package disk

import (
	"slices"

	"phase/appliance/machine/disk/gpt"
)

// Numbers of the partitions. There is no third: gokrazy keeps a second root
// there, and here another release is tried from the store instead.
const (
	Boot = 1 // FAT16: boot loaders, kernel, initramfs, settings, manifest
	Root = 2 // squashfs: the rootfs of the stub
	Perm = 4 // ext4: all that a node keeps
)

// layout is the whole disk: its partitions, in the order in which they lie on
// it. Flashing gives the last one the rest of the stick.
var layout = []struct {
	number int
	name   string
	kind   gpt.ID
	size   int64 // bytes; 0: as large as what is on it
}{
	{Boot, "phase-boot", gpt.TypeEFI, 0},
	{Root, "phase-root", gpt.TypeLinux, 0},
	{Perm, "phase-perm", gpt.TypeLinux, PermBytes},
}

// PermBytes is the size of the persistent partition in an image, in bytes.
const PermBytes = 64 << 20

// align is where partitions begin and end, in bytes. The first one leaves as
// much room before it, for the partition table.
const align = 1 << 20

// Files of the boot partition that hold what differs from stick to stick. They
// keep their size, so that flashing changes them where they lie.
const (
	CmdlineFile = "cmdline.txt"               // one sector, for the BIOS loader
	EntryFile   = "loader/entries/phase.conf" // for the UEFI loader
	ConfFile    = "phase.conf"                // the settings
	ConfBytes   = 4096                        // of ConfFile, always
)

// NewTable lays the partitions out one behind the other. sizes has the bytes on
// those whose size is not fixed, by their number.
func NewTable(id gpt.ID, sizes map[int]int64) gpt.Table {
	t := gpt.Table{ID: id}
	at := int64(align)
	for _, row := range layout {
		size := roundUp(max(row.size, sizes[row.number], 1))
		t.Partitions = append(t.Partitions, gpt.Partition{Number: row.number, Name: row.name, Type: row.kind,
			First: at / gpt.SectorSize, Last: (at+size)/gpt.SectorSize - 1})
		at += size
	}
	t.Sectors = (at + align) / gpt.SectorSize // the copy of the table, and a round number
	return t
}

// FillDisk makes the table one for a disk of that many bytes: the last
// partition gets the rest of it.
func FillDisk(t gpt.Table, size int64) gpt.Table {
	t.Sectors = size / gpt.SectorSize
	t.Partitions = slices.Clone(t.Partitions)
	last := &t.Partitions[len(t.Partitions)-1]
	end := (t.Sectors - gpt.TailSectors) * gpt.SectorSize / align * align
	last.Last = max(last.Last, end/gpt.SectorSize-1)
	return t
}

// Serial is the serial number of the boot partition's file system, derived from
// the disk's id.
func Serial(id gpt.ID) [4]byte {
	derived := id.Derive("fat")
	return [4]byte(derived[:])
}

func roundUp(n int64) int64 { return (n + align - 1) / align * align }
