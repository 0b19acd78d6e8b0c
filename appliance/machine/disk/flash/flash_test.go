package flash_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

// memory is a disk of a fixed size.
type memory []byte

func (m memory) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(m).ReadAt(p, at) }

func (m memory) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[at:], p), nil
}

// geometry is that of a disk in memory.
func (m memory) geometry(sector int64) gpt.Geometry {
	return gpt.Geometry{Sector: sector, Size: int64(len(m))}
}

// otherEntry is one more entry of the boot menu.
const otherEntry = disk.EntryFolder + "phase.local.conf"

// image is a disk as images makes it, with the partition ids of root in place
// of its own on the boot partition.
func image(id, root gpt.ID) (memory, error) {
	table := disk.NewTable(id, map[int]int64{disk.Boot: 4 << 20, disk.Root: 1 << 20})
	m := make(memory, table.Size)
	boot, err := table.Partition(disk.Boot)
	if err != nil {
		return nil, err
	}
	words := "root=PARTUUID=" + gpt.Table{ID: root}.PartitionID(disk.Root).String()
	var files []fat.File
	for name, text := range map[string]string{
		disk.CmdlineFile: words, disk.EntryFile: "options " + words, otherEntry: "options " + words + " phase.mode=local", disk.ConfFile: strings.Repeat("\n", disk.ConfBytes),
	} {
		files = append(files, fat.File{Path: name, Size: int64(len(text)), From: strings.NewReader(text)})
	}
	volume := fat.Volume{Sector: gpt.Sector512, Size: boot.Size, Start: boot.Start, Label: "PHASE", Serial: disk.Serial(id)}
	if _, err := fat.Write(io.NewOffsetWriter(m, boot.Start), volume, files); err != nil {
		return nil, err
	}
	head, tail, err := table.Encode([]byte("loader"))
	copy(m, head)
	copy(m[len(m)-len(tail):], tail)
	return m, err
}

func mustImage(t *testing.T, seed string) memory {
	t.Helper()
	id := gpt.NewID([]byte(seed))
	m, err := image(id, id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t *testing.T, p *flash.Plan, to memory) {
	t.Helper()
	var written int64
	sum, err := p.Write(t.Context(), to, func(n int64) { written += n })
	if err == nil {
		err = p.Verify(t.Context(), to, sum, func(int64) {})
	}
	if err != nil || written != p.Length {
		t.Fatalf("%d of %d bytes written, %v", written, p.Length, err)
	}
}

func TestWriteAndKeep(t *testing.T) {
	for _, sector := range []int64{gpt.Sector512, gpt.Sector4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) { writeAndKeep(t, sector) })
	}
}

func writeAndKeep(t *testing.T, sector int64) {
	from, stick := mustImage(t, "an image"), make(memory, 80<<20)
	conf := bytes.Repeat([]byte("#"), disk.ConfBytes)
	plan, err := flash.Prepare(from, stick.geometry(sector), gpt.NewID([]byte("a stick")), conf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, plan, stick)
	first, err := flash.OpenImage(stick)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := first.ReadFile(disk.ConfFile); err != nil || !bytes.Equal(got, conf) {
		t.Errorf("the settings are %.20q, %v", got, err)
	}
	for _, name := range []string{disk.CmdlineFile, disk.EntryFile, otherEntry} {
		if got, err := first.ReadFile(name); err != nil || !strings.Contains(string(got)+" ", "root=PARTUUID="+first.Table.PartitionID(disk.Root).String()+" ") {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	perm, err := first.Table.Partition(disk.Perm)
	if err != nil || perm.End() != 79<<20 || first.Table.Sector != sector {
		t.Fatalf("the persistent partition: %+v, %v", perm, err)
	}

	copy(stick[perm.Start:], "kept")
	clear(stick[sector : 2*sector]) // the copy of the table at its end is enough
	if plan, err = flash.PrepareKeeping(mustImage(t, "another image"), stick, stick.geometry(sector), nil); err != nil {
		t.Fatal(err)
	}
	write(t, plan, stick)
	if plan.ID() != first.Table.ID || string(stick[perm.Start:][:4]) != "kept" {
		t.Errorf("disk %s became %s, and what was kept is %q", first.Table.ID, plan.ID(), stick[perm.Start:][:4])
	}
}

func TestRefusals(t *testing.T) {
	whole, id := mustImage(t, "an image"), gpt.NewID([]byte("a stick"))
	size := int64(len(whole))
	foreign, err := image(id, gpt.NewID([]byte("another disk")))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from memory
		size int64
		conf []byte
		says string
	}{
		"too small":           {whole, size - 512, nil, "the image needs"},
		"settings too short":  {whole, size, []byte("x"), "of 1 bytes"},
		"another disk's root": {foreign, size, nil, "does not name the root partition"},
		"no image":            {make(memory, 1<<20), size, nil, gpt.ErrFormat.Error()},
	} {
		if _, err := flash.Prepare(c.from, gpt.Geometry{Sector: gpt.Sector512, Size: c.size}, id, c.conf); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := flash.PrepareKeeping(whole, make(memory, size), whole.geometry(gpt.Sector512), nil); !errors.Is(err, gpt.ErrFormat) {
		t.Errorf("nothing to keep: %v", err)
	}
}

// A stick with sectors of 4096 bytes has the same partitions at the same places,
// with the same bytes in them, but for the file system of the boot partition. Its
// copy is for such sticks alone.
func TestSectorsOf4096(t *testing.T) {
	from, stick := mustImage(t, "an image"), make(memory, 80<<20)
	plan, err := flash.Prepare(from, stick.geometry(gpt.Sector4096), gpt.NewID([]byte("a stick")), nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, plan, stick)
	before, err := flash.OpenImage(from)
	if err != nil {
		t.Fatal(err)
	}
	after, err := flash.OpenImage(stick)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range before.Table.Partitions {
		if is := after.Table.Partitions[i]; is.Start != p.Start || is.Size != p.Size && p.Number != disk.Perm {
			t.Errorf("%+v became %+v", p, is)
		}
		if p.Number != disk.Boot && !bytes.Equal(stick[p.Start:p.End()], from[p.Start:p.End()]) {
			t.Errorf("partition %s has other bytes", p.Name)
		}
	}
	if is, want := binary.LittleEndian.Uint16(stick[1<<20+11:]), uint16(gpt.Sector4096); is != want {
		t.Errorf("the boot partition's file system has sectors of %d bytes", is)
	}
	if bytes.Contains(stick[:gpt.Sector4096], []byte("loader")) {
		t.Error("there is a boot loader for BIOS, which reads no such disk")
	}
	if len(after.Files) != len(before.Files) || len(after.Files) == 0 {
		t.Errorf("%v became %v", before.Files, after.Files)
	}
	for name := range before.Files {
		was, err := before.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		was = bytes.Replace(was, []byte(before.Table.PartitionID(disk.Root).String()), []byte(after.Table.PartitionID(disk.Root).String()), 1)
		if is, err := after.ReadFile(name); err != nil || !bytes.Equal(is, was) {
			t.Errorf("%s: %.40q became %.40q, %v", name, was, is, err)
		}
	}
	if _, err := flash.Prepare(stick, stick.geometry(gpt.Sector512), plan.ID(), nil); err == nil || !strings.Contains(err.Error(), "take the image as it was built") {
		t.Errorf("the copy for sticks of another kind: %v", err)
	}
	if _, err := flash.Prepare(stick, stick.geometry(gpt.Sector4096), plan.ID(), nil); err != nil {
		t.Errorf("the copy for sticks of its kind: %v", err)
	}
}

// What a disk loses between writing and reading back is found: in what was
// copied, and at its end.
func TestVerifyFindsLoss(t *testing.T) {
	from, stick := mustImage(t, "an image"), make(memory, 80<<20)
	plan, err := flash.Prepare(from, stick.geometry(gpt.Sector512), gpt.NewID([]byte("a stick")), nil)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := plan.Write(t.Context(), stick, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, plan.Length - 1, int64(len(stick)) - 1} {
		stick[at] ^= 1
		if err := plan.Verify(t.Context(), stick, sum, func(int64) {}); err == nil {
			t.Errorf("a changed byte at %d was not found", at)
		}
		stick[at] ^= 1
	}
}

// An image is written to a larger disk, under an identifier of its own.
func ExamplePrepare() {
	id := gpt.NewID([]byte("an image"))
	from, err := image(id, id)
	if err != nil {
		log.Fatal(err)
	}
	stick := make(memory, 100<<20)
	plan, err := flash.Prepare(from, stick.geometry(gpt.Sector512), gpt.NewID([]byte("a stick")), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Length>>20, "MiB to copy")
	// plan.Write and plan.Verify do the rest.
	// Output: 70 MiB to copy
}
