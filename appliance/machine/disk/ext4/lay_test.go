package ext4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/base/tool"
	"phase/tests/disktest"
)

// run runs a tool that the test cannot do without.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	program, err := tool.Find(name)
	if err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// template is an empty file system with the features of the images', of 16 MiB.
func template(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "template")
	run(t, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4", "-O",
		"none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum",
		"-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0", path, "16M")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// dirty is a device of 18 MiB with something else on it.
func dirty(t testing.TB) *disktest.Disk {
	t.Helper()
	d := disktest.New(18 << 20)
	garbage := make([]byte, 512<<10)
	if _, err := rand.NewChaCha8([32]byte{1}).Read(garbage); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteAt(garbage, 0); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLay(t *testing.T) {
	empty, device := template(t), dirty(t)
	if err := Lay(bytes.NewReader(empty), device, device.Size); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "device")
	if err := device.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	run(t, "e2fsck", "-fn", path)
	if said := run(t, "dumpe2fs", path); !strings.Contains(said, "Free inodes:              ") || !strings.Contains(said, "clean") {
		t.Errorf("dumpe2fs says %s", said)
	}
	used, _, err := usedBlocks(bytes.NewReader(empty))
	if err != nil {
		t.Fatal(err)
	}
	var blocks int64
	for _, r := range used {
		blocks += r.blocks
	}
	if blocks*templateBlock > 6<<20 {
		t.Errorf("%d blocks are written", blocks)
	}
}

// isSuperblock says whether a kernel takes these bytes for a superblock: the
// magic number, and the checksum where the file system has them.
func isSuperblock(super []byte) bool {
	_, _, err := parseSuperblock(super)
	sum := ^crc32.Checksum(super[:1020], crc32.MakeTable(crc32.Castagnoli)) // the kernel's begins the same and does not invert the end
	return err == nil && sum == binary.LittleEndian.Uint32(super[1020:])
}

// The power is cut at many places, in whole sectors, within one, and so that only
// some of a write is on the device. There is never a superblock with anything but
// its own file system behind it, and the next start lays the file system.
func TestLayCutAnywhere(t *testing.T) {
	empty, old := template(t), dirty(t)
	was := bytes.Clone(empty[superblockAt : superblockAt+superblockSize]) // an older file system like it, and in ruins
	was[0x68]++                                                           // its UUID
	binary.LittleEndian.PutUint32(was[1020:], ^crc32.Checksum(was[:1020], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := old.WriteAt(was, superblockAt); err != nil {
		t.Fatal(err)
	}
	used, _, err := usedBlocks(bytes.NewReader(empty))
	if err != nil {
		t.Fatal(err)
	}
	sectors, cuts := 0, map[string]int{}
	for _, r := range used {
		sectors += int(r.blocks) * templateBlock / disktest.SectorSize
	}
	sectors += 2 * templateBlock / disktest.SectorSize // cleared first, written last
	for left := 0; left <= sectors; left++ {
		if left > 16 && left < sectors-16 && left%997 != 0 { // between them no superblock is written
			continue
		}
		for how, cut := range map[string]*disktest.Cut{"whole sectors": {Left: left}, "a torn one": {Left: left, Torn: true}, "some": {Left: left, Some: rand.New(rand.NewPCG(uint64(left), 0))}} {
			when := fmt.Sprintf("after %d sectors of %d, %s", left, sectors, how)
			device := old.Again(cut)
			if err := Lay(bytes.NewReader(empty), device, device.Size); left < sectors && !errors.Is(err, disktest.ErrCut) || left == sectors && err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			cuts[state(t, when, device, old, empty, was)]++
			again := device.Again(nil)
			if err := Lay(bytes.NewReader(empty), again, again.Size); err != nil || state(t, when, again, old, empty, was) != "new" {
				t.Fatalf("%s, at the next start: %v", when, err)
			}
		}
	}
	if cuts["old"] == 0 || cuts["none"] == 0 || cuts["new"] == 0 {
		t.Errorf("the cuts left %v", cuts)
	}
}

// state says which file system a device has: "old", "new", or "none".
func state(t *testing.T, when string, device, old *disktest.Disk, empty, was []byte) string {
	t.Helper()
	super := make([]byte, superblockSize)
	if _, err := device.ReadAt(super, superblockAt); err != nil {
		t.Fatal(err)
	}
	switch {
	case !isSuperblock(super):
		return "none"
	case bytes.Equal(super, was):
		for number, one := range old.Sectors {
			if number >= templateBlock/disktest.SectorSize && device.Sectors[number] != one {
				t.Fatalf("%s: the old superblock, and sector %d is new", when, number)
			}
		}
		return "old"
	}
	used, _, err := usedBlocks(bytes.NewReader(empty))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range used {
		have := make([]byte, r.blocks*templateBlock)
		if _, err := device.ReadAt(have, r.first*templateBlock); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, empty[r.first*templateBlock:][:len(have)]) {
			t.Fatalf("%s: the new superblock, and the blocks from %d on are not", when, r.first)
		}
	}
	return "new"
}

// unreadable is a device with a bad sector.
type unreadable struct {
	*disktest.Disk
	at int64
}

func (u unreadable) ReadAt(b []byte, at int64) (int, error) {
	if at <= u.at && u.at < at+int64(len(b)) {
		return 0, syscall.EIO
	}
	return u.Disk.ReadAt(b, at)
}

// Nothing is written to a device that cannot be read or is too small, and
// nothing from a template that is none.
func TestLayRefuses(t *testing.T) {
	empty := template(t)
	changed := func(change func(b []byte)) io.ReaderAt {
		b := bytes.Clone(empty)
		change(b)
		return bytes.NewReader(b)
	}
	for name, c := range map[string]struct {
		template io.ReaderAt
		bad      int64 // the byte that cannot be read
		size     int64
		says     string
	}{
		"unreadable":            {bytes.NewReader(empty), 1 << 20, 18 << 20, "cannot be read"},
		"unreadable at its end": {bytes.NewReader(empty), 18<<20 - 1, 18 << 20, "cannot be read"},
		"too small":             {bytes.NewReader(empty), -1, 8 << 20, "the file system takes"},
		"an empty template":     {bytes.NewReader(nil), -1, 18 << 20, "template"},
		"zeros":                 {bytes.NewReader(make([]byte, len(empty))), -1, 18 << 20, "no ext4"},
		"many groups":           {changed(func(b []byte) { clear(b[superblockAt+atBlocksPerGroup:][:4]) }), -1, 18 << 20, "not one group"},
		"no bitmap":             {changed(func(b []byte) { clear(b[templateBlock:][:4]) }), -1, 18 << 20, "no bitmap"},
		"an empty bitmap":       {changed(func(b []byte) { b[templateBlock], b[templateBlock+1] = 0xFF, 7 }), -1, 18 << 20, "superblock"},
	} {
		device := dirty(t)
		have := device.Again(nil)
		if err := Lay(c.template, unreadable{device, c.bad}, c.size); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		for number, one := range have.Sectors {
			if device.Sectors[number] != one {
				t.Fatalf("%s: sector %d was written", name, number)
			}
		}
	}
}

func TestUnusable(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EINVAL: true, syscall.EUCLEAN: true, syscall.EBADMSG: true,
		syscall.EIO: false, syscall.ENXIO: false, syscall.ENODEV: false, syscall.EROFS: false, syscall.EACCES: false,
		syscall.ENOSPC: false, syscall.ENOMEM: false, syscall.EBUSY: false, os.ErrNotExist: false, nil: false,
	} {
		if got := Unusable(fmt.Errorf("mounting it: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// FuzzUsedBlocks states: what is accepted is blocks of the file system, in order.
func FuzzUsedBlocks(f *testing.F) {
	empty := template(f)[:128<<10]
	f.Add(uint32(superblockAt), empty[superblockAt:superblockAt+256])
	f.Add(uint32(templateBlock), empty[templateBlock:templateBlock+64])
	f.Fuzz(func(t *testing.T, at uint32, change []byte) {
		data := bytes.Clone(empty)
		copy(data[int(at)%len(data):], change)
		used, blocks, err := usedBlocks(bytes.NewReader(data))
		if err != nil {
			return
		}
		next := int64(0)
		for _, r := range used {
			if r.first < next || r.blocks < 1 || r.blocks > chunkBlocks || r.first+r.blocks > blocks {
				t.Fatalf("%+v of %d blocks, after %d", r, blocks, next)
			}
			next = r.first + r.blocks
		}
	})
}
