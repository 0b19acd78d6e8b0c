package gpt

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
)

func sample(sector int64) Table {
	return Table{ID: NewID([]byte("seed")), Geometry: Geometry{sector, 100 << 20}, Partitions: []Partition{
		{1, "phase-boot", TypeEFI, 1 << 20, 19 << 20},
		{2, "phase-root", TypeLinux, 20 << 20, 4 << 20},
		{4, "phase-perm", TypeLinux, 24 << 20, 64 << 20},
	}}
}

// bothSectors runs a test for disks with sectors of either size.
func bothSectors(t *testing.T, test func(t *testing.T, sector int64)) {
	for _, sector := range []int64{Sector512, Sector4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) { test(t, sector) })
	}
}

func TestRoundTrip(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int64) {
		table, loader := sample(sector), bytes.Repeat([]byte{0x90}, LoaderSize)
		head, tail, err := table.Encode(loader)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(head)) != table.Head() || int64(len(tail)) != table.Tail() {
			t.Fatalf("%d bytes in front, %d at the end", len(head), len(tail))
		}
		got, code, err := Read(bytes.NewReader(head))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, table) || !bytes.Equal(code, loader) {
			t.Errorf("got %+v, want %+v", got, table)
		}
	})
}

// What a table for sectors of one size leaves at the places of another one's is
// nothing: a disk that gets the other one has that one alone.
func TestOneTableAtATime(t *testing.T) {
	for _, c := range []struct{ before, after int64 }{{Sector512, Sector4096}, {Sector4096, Sector512}} {
		disk := make([]byte, 100<<20)
		for _, sector := range []int64{c.before, c.after} {
			head, tail, err := sample(sector).Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			copy(disk, head)
			copy(disk[len(disk)-len(tail):], tail)
		}
		if got, _, err := Read(bytes.NewReader(disk)); err != nil || got.Sector != c.after {
			t.Errorf("%d after %d: %+v, %v", c.after, c.before, got, err)
		}
		if n := bytes.Count(disk, []byte(signature)); n != 2 {
			t.Errorf("%d after %d: %d headers", c.after, c.before, n)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	a, b := sample(Sector512), sample(Sector512)
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
	bothSectors(t, func(t *testing.T, sector int64) {
		for name, change := range map[string]func(*Table){
			"over the table":  func(t *Table) { t.Partitions[0].Start = t.Head() - sector },
			"over each other": func(t *Table) { t.Partitions[1].Start -= sector },
			"backwards":       func(t *Table) { t.Partitions[1].Size = 0 },
			"over the end":    func(t *Table) { t.Partitions[2].Size = t.Size - t.Tail() - t.Partitions[2].Start + sector },
			"too large":       func(t *Table) { t.Partitions[2].Size = math.MaxInt64 / sector * sector },
			"half a sector":   func(t *Table) { t.Partitions[1].Start += sector / 2; t.Partitions[1].Size -= sector },
			"half a disk":     func(t *Table) { t.Size += sector / 2 },
			"sectors of 2048": func(t *Table) { t.Sector = 2048 },
			"number 0":        func(t *Table) { t.Partitions[0].Number = 0 },
			"number 129":      func(t *Table) { t.Partitions[2].Number = 129 },
		} {
			table := sample(sector)
			change(&table)
			if _, _, err := table.Encode(nil); err == nil {
				t.Errorf("%s: not refused", name)
			}
		}
		if _, _, err := sample(sector).Encode(make([]byte, LoaderSize+1)); err == nil {
			t.Error("a loader too long was not refused")
		}
	})
}

func TestEveryChangedByteIsSeen(t *testing.T) {
	bothSectors(t, func(t *testing.T, sector int64) {
		head, _, err := sample(sector).Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		step := 1
		for at := LoaderSize; at < len(head); at += step {
			if at > int(2*sector)+4*entrySize {
				step = 29 // entries of which one is as another
			}
			damaged := bytes.Clone(head)
			damaged[at] ^= 0x40
			if got, _, err := Read(bytes.NewReader(damaged)); !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d changed: %v, %+v", at, err, got)
			}
		}
	})
}

// What Read takes, Encode writes the same again.
func FuzzRead(f *testing.F) {
	heads := map[bool][]byte{}
	for large, sector := range map[bool]int64{false: Sector512, true: Sector4096} {
		head, _, err := sample(sector).Encode(nil)
		if err != nil {
			f.Fatal(err)
		}
		heads[large] = head
		f.Add(large, uint16(0), head[:64])
		f.Add(large, uint16(sector), head[sector:sector+headerSize])
		f.Add(large, uint16(2*sector), head[2*sector:2*sector+entrySize])
	}
	f.Fuzz(func(t *testing.T, large bool, at uint16, change []byte) {
		damaged := bytes.Clone(heads[large])
		copy(damaged[int(at)%len(damaged):], change)
		table, loader, err := Read(bytes.NewReader(damaged))
		if err != nil {
			return
		}
		again, _, err := table.Encode(loader)
		if err != nil || !bytes.Equal(again, damaged[:len(again)]) {
			t.Errorf("%v: read as %+v, which encodes otherwise", err, table)
		}
	})
}
