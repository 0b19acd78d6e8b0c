// Package gpt writes and reads partition tables: a GPT (UEFI Specification
// 2.10, chapter 5) behind an MBR that carries the BIOS boot loader, the disk's
// old-style signature and, beside the protective partition, the boot partition,
// which some BIOSes want to see marked active before they boot a stick. Every
// identifier comes from one disk id, so that two sticks flashed from one image
// differ once they were given ids of their own. All of it is counted in sectors,
// of 512 or of 4096 bytes; outside this package positions are in bytes, so that
// what lies on a disk does not depend on its sectors.
package gpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	entries    = 128
	entrySize  = 128
	tableBytes = entries * entrySize
	headerSize = 92
	mbrSize    = 512
	// LoaderSize is how many bytes of the MBR are the boot loader's.
	LoaderSize = 440
)

// Sizes of a sector, in bytes: those that disks have.
const (
	Sector512  = 512
	Sector4096 = 4096
)

// Geometry is what a disk says of itself.
type Geometry struct {
	Sector int64 // bytes of a sector, Sector512 or Sector4096
	Size   int64 // bytes of the whole disk
}

// NewGeometry is that of a disk of at most size bytes, in whole sectors.
func NewGeometry(sector, size int64) (Geometry, error) {
	if sector != Sector512 && sector != Sector4096 {
		return Geometry{}, fmt.Errorf("its sectors have %d bytes, and only disks with %d or %d can be used; take another disk", sector, Sector512, Sector4096)
	}
	return Geometry{sector, size / sector * sector}, nil
}

// Head is how many bytes MBR, header and table take at the front of the disk,
// Tail how many table and header take at its end.
func (g Geometry) Head() int64 { return 2*g.Sector + tableBytes }
func (g Geometry) Tail() int64 { return tableBytes + g.Sector }

// ID is a GUID in the order in which its text shows it.
type ID [16]byte

// String is the lower-case form with dashes, as Linux takes it in PARTUUID=.
func (id ID) String() string {
	h := hex.EncodeToString(id[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// disk returns the bytes as they stand on disk: three fields little-endian.
func (id ID) disk() []byte {
	b := bytes.Clone(id[:])
	for _, f := range [][]byte{b[0:4], b[4:6], b[6:8]} {
		slices.Reverse(f)
	}
	return b
}

func fromDisk(b []byte) ID { return ID(ID(b).disk()) }

func mustID(text string) (id ID) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != len(id) {
		panic("gpt: " + text)
	}
	return ID(b)
}

// Partition types.
var (
	TypeEFI   = mustID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b") // EFI system partition
	TypeLinux = mustID("0fc63daf-8483-4772-8e79-3d69d8477de4") // Linux file system data
)

// derive makes an identifier from another one and a name, in the form of a
// random GUID (RFC 9562, version 8: its content is for us to define).
func derive(seed []byte, name string) ID {
	sum := sha256.Sum256(append(append([]byte("phase:"), seed...), name...))
	id := ID(sum[:16])
	id[6], id[8] = id[6]&0x0F|0x80, id[8]&0x3F|0x80
	return id
}

// NewID is the disk id that seed stands for.
func NewID(seed []byte) ID { return derive(seed, "disk") }

// Derive is the identifier of something on the disk, such as "ext4".
func (id ID) Derive(name string) ID { return derive(id[:], name) }

// Signature is the four bytes that name a disk in its MBR.
func (id ID) Signature() uint32 {
	d := id.Derive("mbr")
	return binary.LittleEndian.Uint32(d[:])
}

// Partition is one entry. Start and Size are in bytes, in whole sectors.
type Partition struct {
	Number      int // 1 to 128
	Name        string
	Type        ID
	Start, Size int64
}

// End is where what follows a partition begins, in bytes.
func (p Partition) End() int64 { return p.Start + p.Size }

// Table is the partitions of a disk. ID names the disk and, derived, each
// partition.
type Table struct {
	ID ID
	Geometry
	Partitions []Partition
}

// PartitionID is the GUID of partition n, for root=PARTUUID=.
func (t Table) PartitionID(n int) ID { return t.ID.Derive(fmt.Sprintf("partition %d", n)) }

// Partition finds one by its number.
func (t Table) Partition(number int) (Partition, error) {
	for _, p := range t.Partitions {
		if p.Number == number {
			return p, nil
		}
	}
	return Partition{}, fmt.Errorf("the disk has no partition %d", number)
}

// entry is a partition as it stands in the table, little-endian.
type entry struct {
	Type, ID                [16]byte
	First, Last, Attributes uint64
	Name                    [36]uint16 // UTF-16, ends with a zero where it is shorter
}

func (t Table) check() error {
	if g, err := NewGeometry(t.Sector, t.Size); err != nil || g != t.Geometry {
		return errors.Join(err, fmt.Errorf("a disk cannot have %d bytes in sectors of %d", t.Size, t.Sector))
	}
	end := t.Head()
	for _, p := range t.Partitions {
		if p.Number < 1 || p.Number > entries || p.Start < end || p.Size <= 0 || p.Size > t.Size || p.End() > t.Size-t.Tail() || p.Start%t.Sector != 0 || p.Size%t.Sector != 0 {
			return fmt.Errorf("partition %d (%d bytes from %d on) does not fit a disk of %d bytes in sectors of %d", p.Number, p.Size, p.Start, t.Size, t.Sector)
		}
		end = p.End()
	}
	return nil
}

// Encode renders the front (Head, MBR first) and the end (Tail) of the disk.
// loader is the boot code, at most LoaderSize bytes. Partitions are in the order
// in which they lie on the disk.
func (t Table) Encode(loader []byte) (head, tail []byte, err error) {
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	if len(loader) > LoaderSize {
		return nil, nil, errors.New("the boot loader is too long for an MBR")
	}
	table, err := t.entries()
	if err != nil {
		return nil, nil, err
	}
	first, end := t.Sector, t.Size-t.Sector
	head = append(t.mbr(loader), t.header(first, end, 2*t.Sector, t.Head(), table)...)
	head = append(head, table...)
	tail = append(bytes.Clone(table), t.header(end, first, t.Size-t.Tail(), t.Head(), table)...)
	return head, tail, nil
}

// entries renders the table that both headers point at.
func (t Table) entries() ([]byte, error) {
	table := make([]byte, tableBytes)
	for _, p := range t.Partitions {
		e := entry{Type: [16]byte(p.Type.disk()), ID: [16]byte(t.PartitionID(p.Number).disk()), First: t.sector(p.Start), Last: t.sector(p.End()) - 1}
		copy(e.Name[:], utf16.Encode([]rune(p.Name)))
		if _, err := binary.Encode(table[(p.Number-1)*entrySize:], binary.LittleEndian, e); err != nil {
			return nil, err
		}
	}
	return table, nil
}

// sector is the number of the sector that begins at an offset.
func (g Geometry) sector(offset int64) uint64 { return uint64(offset / g.Sector) }

// header renders the header that lies at an offset. Partitions begin at first or
// behind it.
func (t Table) header(at, other, tableAt, first int64, table []byte) []byte {
	b := make([]byte, t.Sector)
	le := binary.LittleEndian
	copy(b, signature)
	le.PutUint32(b[8:], 0x00010000)
	le.PutUint32(b[12:], headerSize)
	le.PutUint64(b[24:], t.sector(at))
	le.PutUint64(b[atOther:], t.sector(other))
	le.PutUint64(b[40:], t.sector(first))
	le.PutUint64(b[48:], t.sector(t.Size-t.Tail())-1)
	copy(b[56:], t.ID.disk())
	le.PutUint64(b[atTable:], t.sector(tableAt))
	le.PutUint32(b[80:], entries)
	le.PutUint32(b[84:], entrySize)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(table))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:headerSize]))
	return b
}

const signature = "EFI PART"

// mbr is a hybrid: the protective partition covers only what lies before the
// boot partition. Linux takes such a disk for a GPT one as long as the
// protective partition begins at sector 1.
func (t Table) mbr(loader []byte) []byte {
	b := make([]byte, t.Sector)
	copy(b, loader)
	binary.LittleEndian.PutUint32(b[LoaderSize:], t.ID.Signature())
	protects := t.sector(t.Size) - 1
	slot := b[446:]
	for _, p := range t.Partitions {
		if p.Type == TypeEFI {
			putSlot(slot, 0x80, 0x0E, t.sector(p.Start), t.sector(p.Size)) // FAT16, LBA
			protects = t.sector(p.Start) - 1
			slot = slot[16:]
			break
		}
	}
	putSlot(slot, 0, 0xEE, 1, protects)
	b[mbrSize-2], b[mbrSize-1] = 0x55, 0xAA
	return b
}

func putSlot(b []byte, active, kind byte, first, count uint64) {
	// Cylinders are long unused; these values say that the sector numbers count.
	copy(b, []byte{active, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF})
	binary.LittleEndian.PutUint32(b[8:], uint32(first))
	binary.LittleEndian.PutUint32(b[12:], uint32(min(count, 0xFFFFFFFF)))
}

// ErrFormat is wrapped by every refusal of what Encode did not write.
var ErrFormat = errors.New("not a partition table as Phase writes it")

// Read reads the front that Encode wrote from r, whose offset 0 is that of the
// disk, and returns the boot loader with it. What it finds says how large the
// sectors are by which it is counted; a disk whose sectors have another size is
// none that a machine starts from.
func Read(r io.ReaderAt) (t Table, loader []byte, err error) {
	sector := int64(Sector512)
	head := make([]byte, Sector512) // some disks are read by the sector only
	if _, err := r.ReadAt(head, Sector4096); err == nil && string(head[:len(signature)]) == signature {
		sector = Sector4096
	}
	head = make([]byte, Geometry{Sector: sector}.Head())
	if n, err := r.ReadAt(head, 0); n < len(head) {
		if err == io.EOF {
			err = fmt.Errorf("%w: too short", ErrFormat)
		}
		return Table{}, nil, fmt.Errorf("reading the partition table: %w", err)
	}
	return decode(head, sector, 0)
}

// decode reads a front in sectors of a size and compares what it reads from an
// offset on.
func decode(head []byte, sector, from int64) (t Table, loader []byte, err error) {
	h := head[sector : 2*sector]
	if t, err = parse(h, head[2*sector:], sector, binary.LittleEndian.Uint64(h[atOther:])); err != nil {
		return Table{}, nil, err
	}
	loader = bytes.Clone(head[:LoaderSize])
	// What we write is a function of the table, so anything else, checksums
	// and identifiers included, shows in one comparison.
	again, _, err := t.Encode(loader)
	if err != nil {
		return Table{}, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(again[from:], head[from:]) {
		return Table{}, nil, fmt.Errorf("%w: damaged, or changed by another tool", ErrFormat)
	}
	return t, loader, nil
}

// atOther is where a header names the sector of the other one, and atTable
// where it names the first of its table.
const (
	atOther = 32
	atTable = 72
)

// parse reads a header and its table, of a disk whose last sector is last. What
// it returns is only what they say: the caller encodes it again and compares.
func parse(header, table []byte, sector int64, last uint64) (t Table, err error) {
	le := binary.LittleEndian
	if string(header[:8]) != signature {
		return Table{}, fmt.Errorf("%w: no GPT header", ErrFormat)
	}
	if last >= 1<<40 {
		return Table{}, fmt.Errorf("%w: a disk of %d sectors", ErrFormat, last)
	}
	t.ID, t.Geometry = fromDisk(header[56:72]), Geometry{sector, (int64(last) + 1) * sector}
	for n := range entries {
		var e entry
		if _, err := binary.Decode(table[n*entrySize:], le, &e); err != nil {
			return Table{}, err
		}
		if e.First != 0 && e.First < 1<<40 && e.Last < 1<<40 {
			name, _, _ := strings.Cut(string(utf16.Decode(e.Name[:])), "\x00")
			t.Partitions = append(t.Partitions, Partition{Number: n + 1, Name: name, Type: fromDisk(e.Type[:]),
				Start: int64(e.First) * sector, Size: (int64(e.Last) - int64(e.First) + 1) * sector})
		}
	}
	return t, nil
}
