package disk

import (
	"slices"

	"phase/appliance/machine/disk/gpt"
)

// Numbers of the partitions. There is no third: gokrazy keeps a second root
// there, and here another release is tried from the store instead.
const (
	Boot = 1 // FAT: boot loaders, kernel, initramfs, settings, manifest
	Root = 2 // squashfs: the rootfs of the stub
	Perm = 4 // ext4: all that a node keeps
)

// PermName is the name of the persistent partition in the partition table. What
// has another name is never formatted.
const PermName = "phase-perm"

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
	{Perm, PermName, gpt.TypeLinux, PermBytes},
}

// PermBytes is the size of the persistent partition in an image, in bytes.
const PermBytes = 64 << 20

// align is where partitions begin and end, in bytes. The first one leaves as
// much room before it, for the partition table.
const align = 1 << 20

// Files of the boot partition that hold what differs from stick to stick. They
// keep their size, so that flashing changes them where they lie.
const (
	CmdlineFile = "cmdline.txt"              // 512 bytes, for the BIOS loader
	EntryFolder = "loader/entries/"          // for the UEFI loader: each file is an entry of its menu
	EntryFile   = EntryFolder + "phase.conf" // the entry that is started by itself
	ConfFile    = "phase.conf"               // the settings
	ConfBytes   = 4096                       // of ConfFile, always
)

// NewTable lays the partitions of an image out one behind the other. sizes has
// the bytes on those whose size is not fixed, by their number.
func NewTable(id gpt.ID, sizes map[int]int64) gpt.Table {
	t := gpt.Table{ID: id}
	at := int64(align)
	for _, row := range layout {
		size := roundUp(max(row.size, sizes[row.number], 1))
		t.Partitions = append(t.Partitions, gpt.Partition{Number: row.number, Name: row.name, Type: row.kind,
			Start: at, Size: size})
		at += size
	}
	t.Geometry = gpt.Geometry{Sector: gpt.Sector512, Size: at + align} // the copy of the table, and a round number
	return t
}

// FillDisk makes the table one for another disk: each partition stays where it
// is, and the last one gets the rest of the disk.
func FillDisk(t gpt.Table, g gpt.Geometry) gpt.Table {
	t.Geometry = g
	t.Partitions = slices.Clone(t.Partitions)
	last := &t.Partitions[len(t.Partitions)-1]
	end := (g.Size - g.Tail()) / align * align
	last.Size = max(last.Size, end-last.Start)
	return t
}

// Shrink makes the table one for the smallest disk that holds its partitions, as
// NewTable lays it out.
func Shrink(t gpt.Table) gpt.Table {
	t.Size = t.Partitions[len(t.Partitions)-1].End() + align
	return t
}

// Serial is the serial number of the boot partition's file system, derived from
// the disk's id.
func Serial(id gpt.ID) [4]byte {
	derived := id.Derive("fat")
	return [4]byte(derived[:])
}

func roundUp(n int64) int64 { return (n + align - 1) / align * align }
