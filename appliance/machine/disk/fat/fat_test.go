package fat

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func file(path string, data []byte) File {
	return File{Path: path, Size: int64(len(data)), From: bytes.NewReader(data)}
}

// memory is a disk that reads as zeros where nothing was written.
type memory []byte

func (m memory) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > int64(len(m)) {
		return 0, fmt.Errorf("writing past the end at %d", at)
	}
	return copy(m[at:], p), nil
}

func volume(size, sector int64) Volume {
	return Volume{Sector: sector, Size: size, Start: 1 << 20, Label: "PHASE", Serial: [4]byte{0x78, 0x56, 0x34, 0x12}, Time: time.Date(2026, 11, 23, 10, 20, 30, 0, time.UTC)}
}

var contents = map[string][]byte{
	"vmlinuz":                   bytes.Repeat([]byte("kernel"), 100_000),
	"initramfs.img":             []byte("small"),
	"EMPTY.TXT":                 {},
	"EFI/BOOT/BOOTX64.EFI":      bytes.Repeat([]byte{7}, 2048),
	"loader/entries/a.conf":     bytes.Repeat([]byte{8}, 2049),
	"loader/entries/phase.conf": []byte("title"),
}

func sample(t testing.TB, size, sector int64) (memory, map[string]Extent) {
	var files []File
	for _, name := range []string{"vmlinuz", "initramfs.img", "EMPTY.TXT", "EFI/BOOT/BOOTX64.EFI", "loader/entries/a.conf", "loader/entries/phase.conf"} {
		files = append(files, file(name, contents[name]))
	}
	m := make(memory, size)
	placed, err := Write(m, volume(size, sector), files)
	if err != nil {
		t.Fatal(err)
	}
	return m, placed
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for _, c := range geometries {
		size := c.size
		m, placed := sample(t, size, c.sector)
		found, err := Read(bytes.NewReader(m), size)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if len(found) != 6 || len(placed) != 6 {
			t.Fatalf("found %v, placed %v", found, placed)
		}
		for name, at := range found {
			if at != placed[name] {
				t.Errorf("%s: found at %v, placed at %v", name, at, placed[name])
			}
			if got := m[at.Offset:][:at.Size]; !bytes.Equal(got, contents[name]) {
				t.Errorf("%s holds other bytes", name)
			}
		}
	}
}

// geometries are file systems of either kind with sectors of either size.
var geometries = []struct {
	size, sector int64
	bits         string
}{
	{4 << 20, 512, "FAT16"}, {18 << 20, 512, "FAT16"}, {76 << 20, 512, "FAT16"}, {1 << 20, 512, "FAT12"},
	{4 << 20, 4096, "FAT12"}, {15 << 20, 4096, "FAT12"}, {16 << 20, 4096, "FAT16"}, {17 << 20, 4096, "FAT16"}, {76 << 20, 4096, "FAT16"},
}

// The files do not depend on the sectors; there and back gives the same bytes.
func TestConvert(t *testing.T) {
	for _, size := range []int64{4 << 20, 18 << 20} {
		from, _ := sample(t, size, 512)
		to, back, again := make(memory, size), make(memory, size), make(memory, size)
		placed, err := Convert(to, bytes.NewReader(from), size, 4096)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Read(bytes.NewReader(to), size)
		if err != nil || !maps.Equal(found, placed) || len(found) != len(contents) {
			t.Fatalf("found %v, placed %v, %v", found, placed, err)
		}
		for name, at := range found {
			if !bytes.Equal(to[at.Offset:][:at.Size], contents[name]) {
				t.Errorf("%s holds other bytes", name)
			}
		}
		if _, err := Convert(back, bytes.NewReader(to), size, 512); err != nil {
			t.Fatal(err)
		}
		if _, err := Convert(again, bytes.NewReader(back), size, 4096); err != nil || !bytes.Equal(again, to) {
			t.Errorf("%d bytes: there and back it is another one, %v", size, err)
		}
	}
	for name, c := range map[string]struct{ size, sector int64 }{"sectors of 1024": {4 << 20, 1024}, "too small": {4<<20 - 1, 4096}} {
		from, _ := sample(t, 4<<20, 512)
		if _, err := Convert(make(memory, 4<<20), bytes.NewReader(from), c.size, c.sector); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestSameFilesSameBytes(t *testing.T) {
	a, _ := sample(t, 8<<20, 512)
	b, _ := sample(t, 8<<20, 512)
	if !bytes.Equal(a, b) {
		t.Error("two file systems of the same files differ")
	}
}

func TestOtherToolsAgree(t *testing.T) {
	fsck, err := exec.LookPath("/usr/sbin/fsck.fat")
	if err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatal("fsck.fat is missing: apt-get install dosfstools")
		}
		t.Skip("fsck.fat is missing: apt-get install dosfstools")
	}
	for _, c := range geometries {
		m, _ := sample(t, c.size, c.sector)
		path := filepath.Join(t.TempDir(), "fat")
		if err := os.WriteFile(path, m, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(fsck, "-nv", path).CombinedOutput()
		for _, says := range []string{"11 files", fmt.Sprintf("%d bytes per logical sector", c.sector), c.bits[3:] + " bit entries"} {
			if err != nil || !strings.Contains(string(out), says) {
				t.Errorf("%d bytes in sectors of %d, no %q: fsck.fat: %v\n%s", c.size, c.sector, says, err, out)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	whole := file("vmlinuz", contents["vmlinuz"])
	short := whole
	short.Size++
	for _, c := range []struct {
		name  string
		size  int64
		label string
		files []File
	}{
		{"too small for FAT", 16 << 10, "PHASE", nil},
		{"too large for FAT16", 8 << 30, "PHASE", nil},
		{"half a sector", 4<<20 + 1, "PHASE", nil},
		{"label", 4 << 20, "phase", nil},
		{"full", 4 << 20, "PHASE", []File{file("big", make([]byte, 4<<20))}},
		{"twice", 4 << 20, "PHASE", []File{whole, whole}},
		{"file as folder", 4 << 20, "PHASE", []File{whole, file("vmlinuz/x", nil)}},
		{"folder as file", 4 << 20, "PHASE", []File{file("a/b", nil), file("a", nil)}},
		{"parent", 4 << 20, "PHASE", []File{file("../x", nil)}},
		{"character", 4 << 20, "PHASE", []File{file("a:b", nil)}},
		{"shrunk", 4 << 20, "PHASE", []File{short}},
	} {
		v := volume(c.size, 512)
		v.Label = c.label
		if _, err := Write(make(memory, min(c.size, 32<<20)), v, c.files); err == nil {
			t.Errorf("%s: not refused", c.name)
		}
	}
}

func TestDamageIsRefused(t *testing.T) {
	size := int64(4 << 20)
	for name, damage := range map[string]func(m memory){
		"no boot sector": func(m memory) { m[510] = 0 },
		"larger than it": func(m memory) { m[19], m[20] = 0xFF, 0xFF },
		"a loop":         func(m memory) { m[512+2*firstCluster] = firstCluster; m[513+2*firstCluster] = 0 },
		"in pieces":      func(m memory) { m[512+2*firstCluster] = 9 },
	} {
		m, _ := sample(t, size, 512)
		damage(m)
		if _, err := Read(bytes.NewReader(m), size); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever is changed in a file system, no file lies outside it.
func FuzzRead(f *testing.F) {
	size := int64(4 << 20)
	whole := map[bool]memory{}
	for large, sector := range map[bool]int64{false: 512, true: 4096} {
		whole[large], _ = sample(f, size, sector)
		g, err := layout(size, sector)
		if err != nil {
			f.Fatal(err)
		}
		for _, at := range []int64{0, reserved * sector, g.root * sector, g.data * sector} {
			f.Add(large, uint32(at), []byte(whole[large][at:at+64]))
		}
	}
	f.Fuzz(func(t *testing.T, large bool, at uint32, change []byte) {
		m := bytes.Clone(whole[large])
		copy(m[int64(at)%size:], change)
		found, err := Read(bytes.NewReader(m), size)
		if err != nil {
			return
		}
		for name, at := range found {
			if at.Offset < 0 || at.Size < 0 || at.Offset+at.Size > size {
				t.Errorf("%q lies at %v of %d", name, at, size)
			}
		}
		_, _ = Convert(make(memory, size), bytes.NewReader(m), size, 4096) // whatever it says, it ends
	})
}
