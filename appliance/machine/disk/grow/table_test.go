package grow

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"phase/appliance/base/tool"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
	"phase/tests/disktest"
)

func anyTable(gpt.Table) error { return nil }

// stale is the copy of a table that some other system left at the end of a medium.
func stale(t *testing.T, size int64) []byte {
	t.Helper()
	g := medium(size)
	_, tail, err := gpt.Table{ID: gpt.NewID([]byte("an older system")), Geometry: g, Partitions: []gpt.Partition{
		{Number: 1, Name: "windows", Type: gpt.TypeEFI, Start: 1 << 20, Size: 1 << 20},
		{Number: 3, Name: "data", Type: gpt.TypeLinux, Start: 2 << 20, Size: g.Size - 3<<20},
	}}.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return tail
}

// sgdisk returns what sgdisk says of a disk.
func sgdisk(t *testing.T, args ...string) string {
	t.Helper()
	program, err := tool.Find("sgdisk")
	if err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Errorf("sgdisk %s: %v", args, err)
	}
	return string(out)
}

// A medium of any size is used to its end, whatever was at its end before.
func TestTable(t *testing.T) {
	for name, size := range map[string]int64{"512 MiB": 512 << 20, "4 GiB": 4 << 30, "odd": 777_777_777, "as large as the image": image().Size,
		"one sector more": image().Size + 512, "3 TB": 3e12} {
		for old, before := range map[string][]byte{"a new medium": nil, "with an old table": stale(t, size)} {
			if old != "a new medium" && size < image().Size+int64(len(before)) {
				continue // the image lies over the old table
			}
			t.Run(name+", "+old, func(t *testing.T) {
				s := written(t, size, before)
				mbr := s.Sectors[0]
				is, err := Table(s, medium(s.Size), anyTable)
				if err != nil {
					t.Fatal(err)
				}
				if s.Sectors[0] != mbr {
					t.Error("the MBR was changed")
				}
				perm, err := is.Partition(disk.Perm)
				if rest := s.Size - perm.End(); err != nil || rest < is.Tail() || rest >= 2<<20 {
					t.Errorf("the persistent partition leaves %d bytes, %v", rest, err)
				}
				if found := linuxFinds(s, false); found[disk.Perm] != extent(perm) {
					t.Errorf("the kernel finds %+v", found)
				}
				have := maps.Clone(s.Sectors)
				if _, err := Table(s, medium(s.Size), anyTable); err != nil || !maps.Equal(s.Sectors, have) {
					t.Errorf("the second time it writes again, %v", err)
				}
				if size > 1e12 {
					return // no file system here holds such a file
				}
				path := filepath.Join(t.TempDir(), "medium")
				if err := s.WriteFile(path); err != nil {
					t.Fatal(err)
				}
				if said := sgdisk(t, "-v", path); !strings.Contains(said, "No problems found") {
					t.Errorf("sgdisk says:\n%s", said)
				}
				if said := sgdisk(t, "-p", path); !strings.Contains(said, "phase-perm") || strings.Contains(said, "windows") {
					t.Errorf("sgdisk says:\n%s", said)
				}
			})
		}
	}
}

// damaged is a medium whose table is for its size, as other tools make it, with
// the persistent partition as small as in the image. The first header is lost.
func damaged(t *testing.T, size int64) *disktest.Disk {
	t.Helper()
	s := written(t, size, nil)
	table := image()
	table.Geometry = medium(s.Size)
	head, tail, err := table.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, head, 0)
	put(t, s, tail, s.Size-int64(len(tail)))
	s.Sectors[1] = disktest.Sector{}
	return s
}

// The power is cut after every sector that is written, in the middle of every
// sector, and so that only some sectors of a write are on the medium. Each time
// the kernel finds every partition where it was, and the next start finishes.
func TestTableCutAnywhere(t *testing.T) {
	const size = 777_777_777
	for name, c := range map[string]struct {
		start *disktest.Disk
		front bool // the table at the front is valid
	}{
		"copied onto a used medium": {written(t, size, stale(t, size)), true},
		"damaged at the front":      {damaged(t, size), false},
	} {
		t.Run(name, func(t *testing.T) {
			whole := c.start.Again(nil)
			if _, err := Table(whole, medium(whole.Size), anyTable); err != nil {
				t.Fatal(err)
			}
			cuts := 0
			for left := 0; ; left++ {
				some := rand.New(rand.NewPCG(uint64(left), 0))
				for how, s := range map[string]*disktest.Disk{"whole sectors": c.start.Again(&disktest.Cut{Left: left}), "a torn one": c.start.Again(&disktest.Cut{Left: left, Torn: true}), "some": c.start.Again(&disktest.Cut{Left: left, Some: some})} {
					_, err := Table(s, medium(s.Size), anyTable)
					if err == nil {
						t.Logf("%d cuts", cuts)
						return
					}
					if !errors.Is(err, disktest.ErrCut) {
						t.Fatal(err)
					}
					cuts++
					healed(t, fmt.Sprintf("after %d sectors, %s", left, how), s, whole, c.front && how != "a torn one")
				}
			}
		})
	}
}

// healed expects a kernel to find the disk's partitions after a cut, and the next
// start to finish, when it is cut off itself too. plain says that a kernel finds
// them that looks only at the front.
func healed(t *testing.T, when string, s, whole *disktest.Disk, plain bool) {
	t.Helper()
	sameStarts(t, when, linuxFinds(s, true))
	if plain {
		sameStarts(t, when+", by a kernel that looks only at the front", linuxFinds(s, false))
	}
	for left := 0; ; left = 4*left + 1 {
		again := s.Again(&disktest.Cut{Left: left, Torn: left%2 == 0})
		_, err := Table(again, medium(again.Size), anyTable)
		if err == nil {
			break
		}
		if !errors.Is(err, disktest.ErrCut) {
			t.Fatalf("%s, at the next start: %v", when, err)
		}
		sameStarts(t, fmt.Sprintf("%s, and again after %d", when, left), linuxFinds(again, true))
		finished(t, when, again.Again(nil), whole)
	}
	finished(t, when, s.Again(nil), whole)
}

func finished(t *testing.T, when string, s, whole *disktest.Disk) {
	t.Helper()
	g := medium(s.Size)
	if _, err := Table(s, g, anyTable); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for number, one := range whole.Sectors {
		if spare := number >= g.Head()/g.Sector && number < g.Front()/g.Sector; !spare && s.Sectors[number] != one {
			t.Fatalf("%s: sector %d is not as it is without a cut", when, number)
		}
	}
}

func sameStarts(t *testing.T, when string, found map[int]disk.Extent) {
	t.Helper()
	for _, p := range image().Partitions {
		f, ok := found[p.Number]
		if !ok || f.Start != p.Start || f.Size != p.Size && (p.Number != disk.Perm || f.Size < p.Size) || len(found) != 3 {
			t.Fatalf("%s: the kernel finds %+v", when, found)
		}
	}
}

// The same on a medium with sectors of 4096 bytes, of which a cut may leave any
// part: the old table or the new one is found, and the next start finishes.
func TestTableInSectorsOf4096(t *testing.T) {
	g := gpt.Geometry{Sector: gpt.Sector4096, Size: 777_777_777 / 4096 * 4096}
	table := image()
	table.Geometry = gpt.Geometry{Sector: g.Sector, Size: table.Size}
	head, tail, err := table.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	start := disktest.New(g.Size)
	put(t, start, head, 0)
	put(t, start, tail, table.Size-table.Tail())
	whole := start.Again(nil)
	is, err := Table(whole, g, anyTable)
	if last := is.Partitions[len(is.Partitions)-1]; err != nil || g.Size-last.End() >= 2<<20 {
		t.Fatalf("%+v, %v", is, err)
	}
	if found, _, err := gpt.Read(whole); err != nil || !reflect.DeepEqual(found, is) {
		t.Errorf("%+v, %v", found, err)
	}
	for left := 0; ; left++ {
		for _, torn := range []bool{false, true} {
			s := start.Again(&disktest.Cut{Left: left, Torn: torn})
			_, err := Table(s, g, anyTable)
			if err == nil {
				return
			}
			if !errors.Is(err, disktest.ErrCut) {
				t.Fatal(err)
			}
			again := s.Again(nil)
			if done, err := Table(again, g, anyTable); err != nil || !reflect.DeepEqual(done, is) {
				t.Fatalf("after %d parts, torn %v: %+v, %v", left, torn, done, err)
			}
			if found, _, err := gpt.Read(again); err != nil || !reflect.DeepEqual(found, is) {
				t.Fatalf("after %d parts, torn %v: %+v, %v", left, torn, found, err)
			}
		}
	}
}

// What is not this disk's table, or not in order, is left as it is.
func TestTableIsLeft(t *testing.T) {
	const size = 512 << 20
	older := written(t, size, nil).Again(nil)
	put(t, older, stale(t, size), size-medium(size).Tail())
	refused := errors.New("not this one")
	for name, c := range map[string]struct {
		change func(s *disktest.Disk)
		size   int64
		accept func(gpt.Table) error
	}{
		"not accepted":                       {func(*disktest.Disk) {}, size, func(gpt.Table) error { return refused }},
		"smaller than its table":             {func(*disktest.Disk) {}, image().Size - 512, anyTable},
		"too small for any table":            {func(*disktest.Disk) {}, 4096, anyTable},
		"damaged, the old copy is another's": {func(s *disktest.Disk) { s.Sectors[1] = disktest.Sector{} }, size, anyTable},
		"changed by another tool":            {func(s *disktest.Disk) { h := s.Sectors[2]; h[200]++; s.Sectors[2] = h }, size, anyTable},
	} {
		s := older.Again(nil)
		c.change(s)
		have := maps.Clone(s.Sectors)
		if _, err := Table(s, medium(c.size), c.accept); err == nil || !maps.Equal(s.Sectors, have) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzTable states: whatever the sectors of a table hold, the partitions that the
// kernel finds before are there afterwards.
func FuzzTable(f *testing.F) {
	const size = 100 << 20
	f.Add(uint8(1), []byte("EFI PART"), false)
	f.Add(uint8(34), []byte{1}, true)
	f.Add(uint8(0), make([]byte, 512), false)
	f.Fuzz(func(t *testing.T, at uint8, change []byte, atEnd bool) {
		s := written(t, size*2, nil)
		g := medium(s.Size)
		number := int64(at) % (g.Front() / g.Sector)
		if atEnd {
			number = (g.Size-g.Tail())/g.Sector + number%(g.Tail()/g.Sector)
		}
		one := s.Sectors[number]
		copy(one[:], change)
		s.Sectors[number] = one
		before := linuxFinds(s, true)
		if _, err := Table(s, medium(s.Size), anyTable); err != nil {
			if after := linuxFinds(s, true); !maps.Equal(before, after) {
				t.Errorf("refused (%v), and changed: %+v, %+v", err, before, after)
			}
			return
		}
		// The MBR is never written: one that is none wants the word "gpt" as before.
		after := linuxFinds(s, number == 0)
		for n, p := range before {
			if after[n].Start != p.Start || after[n].Size < p.Size {
				t.Errorf("partition %d was %+v and is %+v", n, p, after[n])
			}
		}
	})
}
