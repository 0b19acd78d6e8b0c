package disk

import (
	"testing"

	"phase/appliance/machine/disk/gpt"
)

func TestNewTable(t *testing.T) {
	id := gpt.NewID([]byte("seed"))
	table := NewTable(id, map[int]int64{Boot: 20<<20 + 1, Root: 12 << 20})
	if _, _, err := table.Encode(nil); err != nil {
		t.Fatal(err)
	}
	for number, want := range map[int]struct{ offset, size int64 }{
		Boot: {1 << 20, 21 << 20}, Root: {22 << 20, 12 << 20}, Perm: {34 << 20, PermBytes},
	} {
		p, err := table.Partition(number)
		if err != nil || p.Start != want.offset || p.Size != want.size {
			t.Errorf("partition %d has %d bytes from %d on, %v; want %+v", number, p.Size, p.Start, err, want)
		}
	}
	if bytes := table.Geometry.Size; bytes != 34<<20+PermBytes+1<<20 {
		t.Errorf("the disk has %d bytes", bytes)
	}
}

// The rows of the layout can be told apart, and what flashing enlarges is what
// growing finds.
func TestLayout(t *testing.T) {
	numbers, names := map[int]bool{}, map[string]bool{}
	for _, row := range layout {
		if numbers[row.number] || names[row.name] {
			t.Errorf("partition %d, %s: twice", row.number, row.name)
		}
		numbers[row.number], names[row.name] = true, true
	}
	if last := layout[len(layout)-1]; last.number != Perm {
		t.Errorf("the last partition is %s", last.name)
	}
}

func TestFillDisk(t *testing.T) {
	image := NewTable(gpt.NewID(nil), nil)
	least := image.Geometry.Size
	for _, sector := range []int64{gpt.Sector512, gpt.Sector4096} {
		for _, size := range []int64{least, least + sector, least + 1<<20, 64 << 30} {
			table := FillDisk(image, gpt.Geometry{Sector: sector, Size: size})
			if _, _, err := table.Encode(nil); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			perm, err := table.Partition(Perm)
			if err != nil || size-perm.End() >= 2<<20 || perm.Size < PermBytes {
				t.Errorf("%d bytes: the last partition has %d from %d on, %v", size, perm.Size, perm.Start, err)
			}
		}
	}
	if perm, _ := image.Partition(Perm); perm.Size != PermBytes {
		t.Error("the table of the image was changed")
	}
}
