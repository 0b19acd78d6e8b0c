package flash_test

import (
	"bytes"
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

// image is a disk as images makes it, with the partition ids of root in place
// of its own on the boot partition.
func image(id, root gpt.ID) (memory, error) {
	table := disk.NewTable(id, map[int]int64{disk.Boot: 4 << 20, disk.Root: 1 << 20})
	m := make(memory, table.Sectors*gpt.SectorSize)
	boot, err := table.Partition(disk.Boot)
	if err != nil {
		return nil, err
	}
	words := "root=PARTUUID=" + gpt.Table{ID: root}.PartitionID(disk.Root).String()
	var files []fat.File
	for name, text := range map[string]string{
		disk.CmdlineFile: words, disk.EntryFile: "options " + words, disk.ConfFile: strings.Repeat("\n", disk.ConfBytes),
	} {
		files = append(files, fat.File{Path: name, Size: int64(len(text)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
	}
	volume := fat.Volume{Size: boot.Size(), Start: boot.Offset(), Label: "PHASE", Serial: disk.Serial(id)}
	if _, err := fat.Write(io.NewOffsetWriter(m, boot.Offset()), volume, files); err != nil {
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
	from, stick := mustImage(t, "an image"), make(memory, 80<<20)
	conf := bytes.Repeat([]byte("#"), disk.ConfBytes)
	plan, err := flash.Prepare(from, int64(len(stick)), gpt.NewID([]byte("a stick")), conf)
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
	if got, err := first.ReadFile(disk.CmdlineFile); err != nil || !strings.HasSuffix(string(got), first.Table.PartitionID(disk.Root).String()) {
		t.Errorf("the command line is %q, %v", got, err)
	}
	perm, err := first.Table.Partition(disk.Perm)
	if err != nil || perm.Offset()+perm.Size() != 79<<20 {
		t.Fatalf("the persistent partition: %+v, %v", perm, err)
	}

	copy(stick[perm.Offset():], "kept")
	if plan, err = flash.PrepareKeeping(mustImage(t, "another image"), stick, int64(len(stick)), nil); err != nil {
		t.Fatal(err)
	}
	write(t, plan, stick)
	if plan.ID() != first.Table.ID || string(stick[perm.Offset():][:4]) != "kept" {
		t.Errorf("disk %s became %s, and what was kept is %q", first.Table.ID, plan.ID(), stick[perm.Offset():][:4])
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
		"too small":           {whole, size - 1, nil, "the image needs"},
		"settings too short":  {whole, size, []byte("x"), "of 1 bytes"},
		"another disk's root": {foreign, size, nil, "does not name the root partition"},
		"no image":            {make(memory, 1<<20), size, nil, gpt.ErrFormat.Error()},
	} {
		if _, err := flash.Prepare(c.from, c.size, id, c.conf); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := flash.PrepareKeeping(whole, make(memory, size), size, nil); !errors.Is(err, gpt.ErrFormat) {
		t.Errorf("nothing to keep: %v", err)
	}
}

// What a disk loses between writing and reading back is found: in what was
// copied, and at its end.
func TestVerifyFindsLoss(t *testing.T) {
	from, stick := mustImage(t, "an image"), make(memory, 80<<20)
	plan, err := flash.Prepare(from, int64(len(stick)), gpt.NewID([]byte("a stick")), nil)
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
	plan, err := flash.Prepare(from, int64(len(stick)), gpt.NewID([]byte("a stick")), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Length>>20, "MiB to copy")
	// plan.Write and plan.Verify do the rest.
	// Output: 70 MiB to copy
}
