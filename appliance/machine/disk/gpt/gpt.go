// Package gpt writes and reads partition tables: a GPT (UEFI Specification
// 2.10, chapter 5) behind an MBR that carries the BIOS boot loader, the disk's
// old-style signature and, beside the protective partition, the boot partition,
// which some BIOSes want to see marked active before they boot a stick. Every
// identifier comes from one disk id, so that two sticks flashed from one image
// differ once they were given ids of their own.
package gpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"unicode/utf16"
)

// SectorSize is in bytes; disks with 4096-byte sectors are not written.
const SectorSize = 512

const (
	entries      = 128
	entrySize    = 128
	tableSectors = entries * entrySize / SectorSize
	headerSize   = 92
	// HeadSectors at the front of the disk hold MBR, header and table;
	// TailSectors at its end hold table and header again.
	HeadSectors = 2 + tableSectors
	TailSectors = 1 + tableSectors
	// LoaderSize is how many bytes of the MBR are the boot loader's.
	LoaderSize = 440
)

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

// Partition is one entry. First and Last are sectors, both part of it.
type Partition struct {
	Number      int // 1 to 128
	Name        string
	Type        ID
	First, Last int64
}

// Offset and Size of a partition, in bytes.
func (p Partition) Offset() int64 { return p.First * SectorSize }
func (p Partition) Size() int64   { return (p.Last - p.First + 1) * SectorSize }

// Table is a disk's partitions. ID names the disk and, derived, each partition.
type Table struct {
	ID         ID
	Sectors    int64 // of the whole disk
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
	last := int64(HeadSectors - 1)
	for _, p := range t.Partitions {
		if p.Number < 1 || p.Number > entries || p.First <= last || p.Last < p.First || p.Last >= t.Sectors-TailSectors {
			return fmt.Errorf("partition %d (sectors %d to %d) does not fit a disk of %d sectors", p.Number, p.First, p.Last, t.Sectors)
		}
		last = p.Last
	}
	return nil
}

// Encode renders the front (HeadSectors, MBR first) and the end (TailSectors)
// of the disk. loader is the boot code, at most LoaderSize bytes. Partitions
// are in the order of their sectors.
func (t Table) Encode(loader []byte) (head, tail []byte, err error) {
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	if len(loader) > LoaderSize {
		return nil, nil, errors.New("the boot loader is too long for an MBR")
	}
	table := make([]byte, entries*entrySize)
	for _, p := range t.Partitions {
		e := entry{Type: [16]byte(p.Type.disk()), ID: [16]byte(t.PartitionID(p.Number).disk()), First: uint64(p.First), Last: uint64(p.Last)}
		copy(e.Name[:], utf16.Encode([]rune(p.Name)))
		if _, err := binary.Encode(table[(p.Number-1)*entrySize:], binary.LittleEndian, e); err != nil {
			return nil, nil, err
		}
	}
	head = append(t.mbr(loader), t.header(1, t.Sectors-1, 2, table)...)
	head = append(head, table...)
	tail = append(bytes.Clone(table), t.header(t.Sectors-1, 1, t.Sectors-TailSectors, table)...)
	return head, tail, nil
}

func (t Table) header(at, other, tableAt int64, table []byte) []byte {
	b := make([]byte, SectorSize)
	le := binary.LittleEndian
	copy(b, signature)
	le.PutUint32(b[8:], 0x00010000)
	le.PutUint32(b[12:], headerSize)
	le.PutUint64(b[24:], uint64(at))
	le.PutUint64(b[32:], uint64(other))
	le.PutUint64(b[40:], HeadSectors)
	le.PutUint64(b[48:], uint64(t.Sectors-TailSectors-1))
	copy(b[56:], t.ID.disk())
	le.PutUint64(b[72:], uint64(tableAt))
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
	b := make([]byte, SectorSize)
	copy(b, loader)
	le := binary.LittleEndian
	le.PutUint32(b[LoaderSize:], t.ID.Signature())
	protects := t.Sectors - 1
	slot := b[446:]
	for _, p := range t.Partitions {
		if p.Type == TypeEFI {
			putSlot(slot, 0x80, 0x0E, p.First, p.Last-p.First+1) // FAT16, LBA
			protects = p.First - 1
			slot = slot[16:]
			break
		}
	}
	putSlot(slot, 0, 0xEE, 1, protects)
	b[510], b[511] = 0x55, 0xAA
	return b
}

func putSlot(b []byte, active, kind byte, first, count int64) {
	// Cylinders are long unused; these values say that the sector numbers count.
	copy(b, []byte{active, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF})
	binary.LittleEndian.PutUint32(b[8:], uint32(first))
	binary.LittleEndian.PutUint32(b[12:], uint32(min(count, 0xFFFFFFFF)))
}

// ErrFormat is wrapped by every refusal of what Encode did not write.
var ErrFormat = errors.New("not a partition table as Phase writes it")

// Decode reads a front of HeadSectors that Encode wrote and returns the boot
// loader with it.
func Decode(head []byte) (t Table, loader []byte, err error) { return decode(head, 0) }

// DecodeTable is Decode without the first sector, which flashing clears first so
// that nothing boots a disk that is half written.
func DecodeTable(head []byte) (Table, error) {
	t, _, err := decode(head, SectorSize)
	return t, err
}

// decode compares what it reads from an offset on.
func decode(head []byte, from int) (t Table, loader []byte, err error) {
	if len(head) < HeadSectors*SectorSize {
		return Table{}, nil, fmt.Errorf("%w: too short", ErrFormat)
	}
	head = head[:HeadSectors*SectorSize]
	h, table := head[SectorSize:2*SectorSize], head[2*SectorSize:]
	le := binary.LittleEndian
	if string(h[:8]) != signature {
		return Table{}, nil, fmt.Errorf("%w: no GPT header", ErrFormat)
	}
	last := le.Uint64(h[32:])
	if last >= 1<<40 {
		return Table{}, nil, fmt.Errorf("%w: a disk of %d sectors", ErrFormat, last)
	}
	t.ID, t.Sectors = fromDisk(h[56:72]), int64(last)+1
	for n := range entries {
		var e entry
		if _, err := binary.Decode(table[n*entrySize:], le, &e); err != nil {
			return Table{}, nil, err
		}
		if e.First != 0 && e.First < 1<<40 && e.Last < 1<<40 {
			name, _, _ := strings.Cut(string(utf16.Decode(e.Name[:])), "\x00")
			t.Partitions = append(t.Partitions, Partition{Number: n + 1, Name: name, Type: fromDisk(e.Type[:]), First: int64(e.First), Last: int64(e.Last)})
		}
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
