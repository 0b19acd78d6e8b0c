package flash_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

// A disk that a node ran from for a while is read as the image that it was, with
// the settings that it was flashed with, and an empty persistent partition.
func TestFresh(t *testing.T) {
	for _, sector := range []int64{gpt.Sector512, gpt.Sector4096} {
		from, stick := mustImage(t, "an image"), make(memory, 100<<20)
		conf := bytes.Repeat([]byte("#"), disk.ConfBytes)
		plan, err := flash.Prepare(from, stick.geometry(sector), gpt.NewID([]byte("a stick")), conf)
		if err != nil {
			t.Fatal(err)
		}
		write(t, plan, stick)
		used, err := flash.OpenImage(stick)
		if err != nil {
			t.Fatal(err)
		}
		perm, err := used.Table.Partition(disk.Perm)
		if err != nil {
			t.Fatal(err)
		}
		template := bytes.Repeat([]byte("empty"), 1000)
		for i := perm.Start; i < perm.End(); i++ {
			stick[i] = 0xA5 // what the node keeps
		}
		fresh, err := flash.Fresh(stick, bytes.NewReader(template))
		if err != nil {
			t.Fatal(err)
		}
		// What comes onto another disk is the same as flashed from the image.
		var want, got memory = make(memory, len(from)), make(memory, len(from))
		id := gpt.NewID([]byte("another disk"))
		plan, err = flash.Prepare(from, want.geometry(sector), id, conf)
		if err != nil {
			t.Fatal(err)
		}
		write(t, plan, want)
		copy(want[perm.Start:], template)
		if plan, err = flash.Prepare(fresh, got.geometry(sector), id, nil); err != nil {
			t.Fatal(err)
		}
		write(t, plan, got)
		if !bytes.Equal(got, want) {
			t.Errorf("sectors of %d bytes: it is not what the image gives", sector)
		}
		if err := iotest.TestReader(io.NewSectionReader(fresh, perm.Start-5000, 20_000), append(bytes.Clone(stick[perm.Start-5000:perm.Start]), append(template, make([]byte, 10_000)...)...)); err != nil {
			t.Error(err)
		}
		if n, err := fresh.ReadAt(make([]byte, 10), int64(len(from))-4); n != 4 || err != io.EOF {
			t.Errorf("at its end %d bytes, %v", n, err)
		}
	}
	if _, err := flash.Fresh(make(memory, 1<<20), bytes.NewReader(nil)); err == nil {
		t.Error("an empty disk was read as an image")
	}
}
