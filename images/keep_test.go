package images

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/trust"
)

// A stick flashed again with --keep stays the same stick: what is on its
// persistent partition, and its identifiers.
func TestFlashKeeps(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck", "unsquashfs")
	p := handmade(t, "x86_64")
	first, second := spec(t, p, t.TempDir()), spec(t, p, t.TempDir())
	second.Version++
	assemble(t, first)
	assemble(t, second)
	file := stick(t, 200<<20)
	flashed := func(image string, flags ...string) Report {
		t.Helper()
		if out, log, code := runImages(append([]string{"flash", image, file, "--force"}, flags...)...); code != 0 {
			t.Fatalf("exit code %d: %s%s", code, out, log)
		}
		return inspected(t, file, first.Roots.Last())
	}
	before := flashed(first.Disk)
	// Between the blocks that the file system uses; behind what an image holds.
	perm := before.Partitions[2]
	marks := []int64{perm.Offset + 200<<10, perm.Offset + perm.Size - 4096}
	mark(t, file, marks)
	perms := section(t, file, perm.Offset, perm.Size)

	after := flashed(second.Disk, "--keep")
	if after.Version != second.Version || after.Disk != before.Disk || after.Partitions[1].ID != before.Partitions[1].ID || after.Partitions[2] != perm {
		t.Errorf("%+v became %+v", before, after)
	}
	if !bytes.Equal(section(t, file, perm.Offset, perm.Size), perms) {
		t.Error("the persistent partition was written to")
	}

	// Pulled out half-way: nothing boots it, and it can be done again.
	target, err := flash.OpenTarget(file, true)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	image, err := os.Open(first.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	again, err := flash.PrepareKeeping(image, target, target.Geometry, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, pull := context.WithCancel(t.Context())
	if _, err := again.Write(ctx, target, func(int64) { pull() }); err == nil {
		t.Fatal("it was not pulled out")
	}
	if !bytes.Equal(section(t, file, 0, gpt.Sector512), make([]byte, gpt.Sector512)) {
		t.Error("half a stick has a boot sector")
	}
	if r := flashed(first.Disk, "--keep"); r.Version != first.Version || !bytes.Equal(section(t, file, perm.Offset, perm.Size), perms) {
		t.Errorf("after half a write: %+v", r)
	}

	// What is not ours has nothing to keep, and is left alone.
	foreign := stick(t, 200<<20)
	was := section(t, foreign, 0, 1<<20)
	if _, log, code := runImages("flash", first.Disk, foreign, "--force", "--keep"); code != 1 || !strings.Contains(log, "leave out --keep") {
		t.Errorf("exit code %d: %s", code, log)
	}
	if !bytes.Equal(section(t, foreign, 0, 1<<20), was) {
		t.Error("a refused target was written to")
	}
}

func inspected(t *testing.T, path string, root trust.Root) Report {
	t.Helper()
	checkDisk(t, path)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Inspect(t.Context(), f, root)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	return r
}

func mark(t *testing.T, path string, at []int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, offset := range at {
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, offset); err != nil || b[0] != 0 {
			t.Fatalf("byte %d is in use: %v, %v", offset, b, err)
		}
		if _, err := f.WriteAt([]byte("kept"), offset); err != nil {
			t.Fatal(err)
		}
	}
}

func section(t *testing.T, path string, offset, size int64) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, size)
	if _, err := f.ReadAt(data, offset); err != nil {
		t.Fatal(err)
	}
	return data
}
