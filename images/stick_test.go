package images

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/release/layout"
)

// The image made from a release alone is the one that was built.
func TestStick(t *testing.T) {
	need(t, "unsquashfs")
	for _, arch := range names.Arches {
		s := spec(t, handmade(t, arch), t.TempDir())
		r := assemble(t, s)
		v, err := s.Roots.Last().VerifyHeld(r.Envelope, "stable", arch)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "stick.img")
		if err := Stick(t.Context(), v, r.Folder, to); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, to), read(t, s.Disk)) {
			t.Errorf("%s: it is another image", arch)
		}
	}
}

// A release in a folder, as fetch brings it from a node, is flashed by itself.
func TestFlashFolder(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck", "unsquashfs")
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	r := assemble(t, s)
	root := filepath.Join(t.TempDir(), "root.json")
	write(t, root, s.Roots.Last().Raw())
	t.Setenv("TMPDIR", t.TempDir())
	file := stick(t, 80<<20)
	before := read(t, file)
	_, _, others := testKeys(t, 12)
	stranger := filepath.Join(t.TempDir(), "root.json")
	write(t, stranger, others.Last().Raw())
	for says, args := range map[string][]string{
		"no key of role":   {r.Folder, file, "--root", stranger},
		"--root":           {r.Folder, file, "--root", root + "x"},
		"holds no release": {t.TempDir(), file, "--root", root},
	} {
		if _, log, code := runImages(append([]string{"flash", "--force"}, args...)...); code != 1 || !strings.Contains(log, says) {
			t.Errorf("%s: exit code %d: %s", says, code, log)
		}
	}
	kernel := filepath.Join(r.Folder, layout.FileName("kernel"))
	bits := read(t, kernel)
	bits[1000] ^= 1
	write(t, kernel, bits)
	if _, log, code := runImages("flash", r.Folder, file, "--force", "--root", root); code != 1 || !strings.Contains(log, "not what its manifest says") {
		t.Errorf("a damaged release: exit code %d: %s", code, log)
	}
	if !bytes.Equal(read(t, file), before) {
		t.Error("a refused target was written to")
	}
	bits[1000] ^= 1
	write(t, kernel, bits)
	if _, log, code := runImages("flash", r.Folder, file, "--force", "--root", root, "--mode", "local"); code != 0 || !strings.Contains(log, "signature verified") {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if is := inspected(t, file, s.Roots.Last()); strings.Join(is.Settings, " ") != "phase.mode=local" || is.Disk == r.DiskID.String() {
		t.Errorf("%+v", is)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "phase-stick-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// A release from before boot loaders were in it makes no image, and says so.
func TestStickOfAnOldRelease(t *testing.T) {
	need(t, "unsquashfs", "mksquashfs")
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	r := assemble(t, s)
	v, err := s.Roots.Last().VerifyHeld(r.Envelope, "stable", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(r.Folder, layout.FileName("rootfs"))
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	runTool(t, "mksquashfs", s.Pieces.path(pieceTree), old, "-quiet", "-no-progress")
	if err := Stick(t.Context(), v, r.Folder, filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "take a newer release") {
		t.Error(err)
	}
}
