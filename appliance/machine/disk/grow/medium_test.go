package grow

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
	"phase/tests/disktest"
)

// image is the table of a disk image, with the MBR and its boot loader.
func image() gpt.Table {
	return disk.NewTable(gpt.NewID([]byte("an image")), map[int]int64{disk.Boot: 20 << 20, disk.Root: 30 << 20})
}

// written is a medium of that many bytes that the image was copied onto; at its
// end lies what was there before.
func written(t *testing.T, size int64, before []byte) *disktest.Disk {
	t.Helper()
	s := disktest.New(size)
	table := image()
	head, tail, err := table.Encode(bytes.Repeat([]byte{0x90}, gpt.LoaderSize))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, before, s.Size-int64(len(before)))
	put(t, s, head, 0)
	put(t, s, tail, table.Size-table.Tail())
	return s
}

// medium is the geometry of the disks of package disktest.
func medium(size int64) gpt.Geometry {
	return gpt.Geometry{Sector: disktest.SectorSize, Size: size / disktest.SectorSize * disktest.SectorSize}
}

func extent(p gpt.Partition) disk.Extent { return disk.Extent{Start: p.Start, Size: p.Size} }

func put(t *testing.T, s *disktest.Disk, data []byte, at int64) {
	t.Helper()
	if _, err := s.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
}

// linuxFinds reads the partitions as the kernel does (block/partitions/efi.c):
// only a valid table at the front counts, unless the word gpt is on the command
// line, when the copy in the last sector does too. It shares no code with package
// gpt. nil: the kernel finds no table.
func linuxFinds(s *disktest.Disk, gptWord bool) map[int]disk.Extent {
	sectors := s.Size / disktest.SectorSize
	if mbr := s.Sectors[0]; !gptWord && (mbr[510] != 0x55 || mbr[511] != 0xAA || !bytes.Contains(mbr[446:510], []byte{0, 0xFE, 0xFF, 0xFF, 0xEE, 0xFE, 0xFF, 0xFF, 1, 0, 0, 0})) {
		return nil
	}
	if found := linuxValid(s, 1, sectors); found != nil || !gptWord {
		return found
	}
	return linuxValid(s, sectors-1, sectors)
}

// linuxValid is is_gpt_valid of the kernel.
func linuxValid(s *disktest.Disk, at, sectors int64) map[int]disk.Extent {
	le, h := binary.LittleEndian, s.Sectors[at]
	length := le.Uint32(h[12:])
	if string(h[:8]) != "EFI PART" || length < 92 || length > disktest.SectorSize {
		return nil
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:length]) != sum || le.Uint64(h[24:]) != uint64(at) ||
		le.Uint64(h[40:]) > uint64(sectors-1) || le.Uint64(h[48:]) > uint64(sectors-1) || le.Uint64(h[48:]) < le.Uint64(h[40:]) || le.Uint32(h[84:]) != 128 {
		return nil
	}
	table := make([]byte, 128*le.Uint32(h[80:]))
	if _, err := s.ReadAt(table, int64(le.Uint64(h[72:]))*disktest.SectorSize); err != nil || crc32.ChecksumIEEE(table) != le.Uint32(h[88:]) {
		return nil
	}
	found := map[int]disk.Extent{}
	for n := 0; n < len(table); n += 128 {
		first, last := le.Uint64(table[n+32:]), le.Uint64(table[n+40:])
		if !bytes.Equal(table[n:n+16], make([]byte, 16)) && last < uint64(sectors) {
			found[n/128+1] = disk.Extent{Start: int64(first) * disktest.SectorSize, Size: int64(last-first+1) * disktest.SectorSize}
		}
	}
	return found
}
