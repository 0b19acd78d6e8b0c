package gpt

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func sample() Table {
	return Table{ID: NewID([]byte("seed")), Sectors: 100 << 11, Partitions: []Partition{
		{1, "phase-boot", TypeEFI, 2048, 40959},
		{2, "phase-root", TypeLinux, 40960, 49151},
		{4, "phase-perm", TypeLinux, 49152, 180223},
	}}
}

func TestRoundTrip(t *testing.T) {
	table, loader := sample(), bytes.Repeat([]byte{0x90}, LoaderSize)
	head, tail, err := table.Encode(loader)
	if err != nil {
		t.Fatal(err)
	}
	if len(head) != HeadSectors*SectorSize || len(tail) != TailSectors*SectorSize {
		t.Fatalf("%d bytes in front, %d at the end", len(head), len(tail))
	}
	got, code, err := Decode(head)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, table) || !bytes.Equal(code, loader) {
		t.Errorf("got %+v, want %+v", got, table)
	}
}

func TestIdentifiers(t *testing.T) {
	a, b := sample(), sample()
	b.ID = NewID([]byte("another seed"))
	seen := map[string]bool{}
	for _, table := range []Table{a, b} {
		for _, id := range []ID{table.ID, table.PartitionID(1), table.PartitionID(2), table.PartitionID(4), table.ID.Derive("mbr")} {
			if seen[id.String()] {
				t.Errorf("%s is there twice", id)
			}
			seen[id.String()] = true
		}
	}
	if got := TypeEFI.String(); got != "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" {
		t.Errorf("text is %s", got)
	}
	// UEFI 2.10, table 5.7: the first three fields are little-endian on disk.
	if got := TypeEFI.disk(); !bytes.Equal(got[:8], []byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11}) {
		t.Errorf("on disk is %x", got)
	}
	if got := fromDisk(TypeEFI.disk()); got != TypeEFI {
		t.Errorf("back from disk is %s", got)
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Table){
		"over the table":  func(t *Table) { t.Partitions[0].First = 33 },
		"over each other": func(t *Table) { t.Partitions[1].First-- },
		"backwards":       func(t *Table) { t.Partitions[1].Last = t.Partitions[1].First - 1 },
		"over the end":    func(t *Table) { t.Partitions[2].Last = t.Sectors - TailSectors },
		"number 0":        func(t *Table) { t.Partitions[0].Number = 0 },
		"number 129":      func(t *Table) { t.Partitions[2].Number = 129 },
	} {
		table := sample()
		change(&table)
		if _, _, err := table.Encode(nil); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	table := sample()
	if _, _, err := table.Encode(make([]byte, LoaderSize+1)); err == nil {
		t.Error("a loader too long was not refused")
	}
}

func TestEveryChangedByteIsSeen(t *testing.T) {
	head, _, err := sample().Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	for at := LoaderSize; at < len(head); at++ {
		damaged := bytes.Clone(head)
		damaged[at] ^= 0x40
		if got, _, err := Decode(damaged); !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d changed: %v, %+v", at, err, got)
		}
	}
}

// What Decode takes, Encode writes the same again.
func FuzzDecode(f *testing.F) {
	head, _, err := sample().Encode(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), head[:64])
	f.Add(uint16(SectorSize), head[SectorSize:SectorSize+headerSize])
	f.Add(uint16(2*SectorSize), head[2*SectorSize:2*SectorSize+entrySize])
	f.Fuzz(func(t *testing.T, at uint16, change []byte) {
		damaged := bytes.Clone(head)
		copy(damaged[int(at)%len(damaged):], change)
		table, loader, err := Decode(damaged)
		if err != nil {
			return
		}
		again, _, err := table.Encode(loader)
		if err != nil || !bytes.Equal(again, damaged) {
			t.Errorf("%v: decoded to %+v, which encodes otherwise", err, table)
		}
	})
}
