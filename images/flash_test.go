package images

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/base/program"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/trust"
)

func runImages(args ...string) (stdout, stderr string, code int) {
	var out, log bytes.Buffer
	err := Run(context.Background(), args, strings.NewReader(""), &out, &log)
	code, _ = program.Code(err)
	if err != nil {
		fmt.Fprint(&log, err)
	}
	return out.String(), log.String(), code
}

// stick is a file that plays the disk to flash.
func stick(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stick")
	write(t, path, bytes.Repeat([]byte{0xA5}, 1<<20)) // it held something before
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlash(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck", "unsquashfs")
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	root := filepath.Join(t.TempDir(), "root.json")
	write(t, root, s.Roots.Last().Raw())
	sticks := []string{stick(t, 200<<20), stick(t, 200<<20+512)}
	ids := map[string]bool{}
	for _, path := range sticks {
		if out, log, code := runImages("flash", s.Disk, path, "--force", "--set", "phase.mode=local", "--set", "phase.update=off"); code != 0 {
			t.Fatalf("exit code %d: %s%s", code, out, log)
		}
		checkDisk(t, path)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := Inspect(t.Context(), f, s.Roots.Last())
		if err != nil || len(r.Problems) > 0 || r.Verified == nil || !*r.Verified {
			t.Errorf("%+v, %v", r, err)
		}
		if strings.Join(r.Settings, " ") != "phase.mode=local phase.update=off" {
			t.Errorf("settings %v", r.Settings)
		}
		if perm := r.Partitions[2]; perm.Size != 200<<20-perm.Offset-1<<20 {
			t.Errorf("the persistent partition has %d bytes from %d", perm.Size, perm.Offset)
		}
		ids[r.Disk], ids[r.Signature], ids[r.Partitions[1].ID] = true, true, true
		image, err := flash.OpenImage(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{disk.CmdlineFile, disk.EntryFile, disk.EntryFolder + "phase.local.conf", disk.EntryFolder + "phase.private.conf"} {
			if text, err := image.ReadFile(name); err != nil || !bytes.Contains(text, []byte("root=PARTUUID="+r.Partitions[1].ID+" ")) {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
	}
	if len(ids) != 6 {
		t.Errorf("two sticks share identifiers: %v", ids)
	}
	if out, _, code := runImages("inspect", sticks[0], "--root", root); code != 0 || !strings.Contains(out, "signature verified") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestFlashRefusals(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	small, file := stick(t, 8<<20), stick(t, 200<<20)
	noImage := filepath.Join(t.TempDir(), "x")
	write(t, noImage, bytes.Repeat([]byte("not an image"), 1<<16))
	before := read(t, file)
	damaged := filepath.Join(t.TempDir(), "damaged")
	bits := read(t, s.Disk)
	image, err := flash.OpenImage(bytes.NewReader(bits))
	if err != nil {
		t.Fatal(err)
	}
	bits[image.Files["vmlinuz"].Offset+1000] ^= 1
	write(t, damaged, bits)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no block device":  {[]string{s.Disk, file}, "--force"},
		"too small":        {[]string{s.Disk, small, "--force"}, "the image needs"},
		"no image":         {[]string{noImage, file, "--force"}, "not a partition table"},
		"a damaged image":  {[]string{damaged, file, "--force"}, "artifact kernel"},
		"itself":           {[]string{s.Disk, s.Disk, "--force"}, "the image itself"},
		"not there":        {[]string{s.Disk, file + "x", "--force"}, "no such file"},
		"a folder":         {[]string{s.Disk, t.TempDir(), "--force"}, "neither"},
		"character device": {[]string{s.Disk, "/dev/null", "--force"}, "neither"},
	} {
		if _, log, code := runImages(append([]string{"flash"}, c.args...)...); code != 1 || !strings.Contains(log, c.says) {
			t.Errorf("%s: exit code %d: %s", name, code, log)
		}
	}
	if _, log, code := runImages("flash", s.Disk, file, "--force", "--set", "phase.mode=public"); code != 2 || !strings.Contains(log, "phase.conf") {
		t.Errorf("a bad setting: exit code %d: %s", code, log)
	}
	if !bytes.Equal(read(t, file), before) {
		t.Error("a refused target was written to")
	}
}

// A person at a terminal is asked, and only a yes is one. The terminal here is
// a real one, with this test at its other end.
func TestFlashAsks(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	assemble(t, s)
	for _, c := range []struct {
		types string
		flags []string
		code  int
	}{
		{"n\n", nil, 1}, {"\n", nil, 1}, {"yesterday\n", nil, 1}, {"\x04", nil, 1}, {"y\n", nil, 0}, {"Yes\n", nil, 0}, {"", []string{"--yes"}, 0},
	} {
		file := stick(t, 200<<20)
		person, terminal := pty(t)
		if _, err := person.WriteString(c.types); err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		err := Run(context.Background(), append([]string{"flash", s.Disk, file, "--force"}, c.flags...), terminal, &out, &log)
		if code, _ := program.Code(err); code != c.code || strings.Contains(log.String(), file) != (c.flags == nil) {
			t.Errorf("%q: exit code %d: %v, %s", c.types, code, err, &log)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = flash.OpenImage(f)
		if f.Close(); (err == nil) != (c.code == 0) {
			t.Errorf("%q: written, or not written: %v", c.types, err)
		}
	}
}

// pty opens both ends of a terminal.
func pty(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetUint32(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}

// broken loses what is written at one place, as cheap sticks do.
type broken struct {
	*os.File
	at int64
}

func (b broken) WriteAt(p []byte, at int64) (int, error) {
	if at <= b.at && b.at < at+int64(len(p)) {
		return len(p), nil
	}
	return b.File.WriteAt(p, at)
}

func TestAStickThatLosesDataIsFound(t *testing.T) {
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	r := assemble(t, s)
	image, err := os.Open(s.Disk)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	for _, at := range []int64{2 << 20, 200<<20 - 1} { // the kernel; the copy of the table
		f, err := os.OpenFile(stick(t, 200<<20), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		plan, err := flash.Prepare(image, gpt.Geometry{Sector: gpt.Sector512, Size: 200 << 20}, r.DiskID.Derive("another"), nil)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := plan.Write(context.Background(), broken{f, at}, func(int64) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Verify(context.Background(), f, sum, func(int64) {}); err == nil {
			t.Errorf("what was lost at %d was not missed", at)
		}
	}
}

func TestInspectFindsDamage(t *testing.T) {
	s := spec(t, handmade(t, "arm64"), t.TempDir())
	r := assemble(t, s)
	_, _, stranger := testKeys(t, 12)
	whole := read(t, s.Disk)
	image, err := flash.OpenImage(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	rootPart, err := image.Table.Partition(disk.Root)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   int64
		root trust.Root
	}{
		"kernel":    {image.Files["vmlinuz"].Offset + 1000, s.Roots.Last()},
		"initramfs": {image.Files["initramfs.img"].Offset + 1000, s.Roots.Last()},
		"rootfs":    {rootPart.Start + 1000, s.Roots.Last()},
		"manifest":  {image.Files["manifest.json"].Offset + 200, s.Roots.Last()},
		"verifying": {-1, stranger.Last()},
	} {
		damaged := bytes.Clone(whole)
		if c.at >= 0 {
			damaged[c.at] ^= 1
		}
		r, err := Inspect(t.Context(), bytes.NewReader(damaged), c.root)
		if err != nil || !strings.Contains(strings.Join(r.Problems, "\n"), name) {
			t.Errorf("%s: %v, %v", name, r.Problems, err)
		}
	}
	if r, err := Inspect(t.Context(), bytes.NewReader(whole), trust.Root{}); err != nil || r.Verified != nil || len(r.Problems) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	_ = r
}
