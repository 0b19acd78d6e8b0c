package initrd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

// build writes an archive with the given contents and returns its bytes.
func build(t testing.TB, prefix []byte, names []string, contents map[string][]byte) []byte {
	t.Helper()
	var files []File
	for _, name := range names {
		files = append(files, File{Name: name, Size: int64(len(contents[name])), Program: strings.HasSuffix(name, "init")})
	}
	l, err := NewLayout(int64(len(prefix)), files)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(l.Size()); err != nil {
		t.Fatal(err)
	}
	// In any order: that is the point of it.
	for _, name := range names {
		at, size, ok := l.Offset(name)
		if !ok || size != int64(len(contents[name])) {
			t.Fatalf("%s: %d, %v", name, size, ok)
		}
		if _, err := f.WriteAt(contents[name], at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(prefix, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.WriteFrame(f); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != l.Size() {
		t.Fatalf("%d bytes, planned %d", len(data), l.Size())
	}
	return data
}

// read lists an archive with the reader of u-root.
func read(t testing.TB, data []byte) []cpio.Record {
	t.Helper()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	return records
}

var carried = map[string][]byte{
	"release/manifest.json":    []byte(`{"a":1}`),
	"release/vmlinuz":          bytes.Repeat([]byte("k"), 1001),
	"release/initramfs.img":    {},
	"release/rootfs.squashfs":  bytes.Repeat([]byte("r"), 4096),
	"release/deep/er/file.txt": []byte("x"),
}

var order = []string{"release/manifest.json", "release/vmlinuz", "release/initramfs.img", "release/deep/er/file.txt", "release/rootfs.squashfs"}

func TestLayoutReadByUroot(t *testing.T) {
	prefix := []byte("13 bytes long")
	data := build(t, prefix, order, carried)
	if !bytes.HasPrefix(data, prefix) || !bytes.Equal(data[13:16], []byte{0, 0, 0}) {
		t.Errorf("the archive begins with %q", data[:20])
	}
	records := read(t, data[16:])
	got := map[string]string{}
	var names []string
	inodes := map[uint64]bool{}
	for _, r := range records {
		names = append(names, r.Name)
		if inodes[r.Ino] {
			t.Errorf("%s shares its inode: the kernel takes it for a hard link", r.Name)
		}
		inodes[r.Ino] = true
		if r.Mode&cpio.S_IFMT == cpio.S_IFREG {
			content, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
			if err != nil {
				t.Fatal(err)
			}
			got[r.Name] = string(content)
		}
	}
	for name, want := range carried {
		if got[name] != string(want) {
			t.Errorf("%s: %d bytes, want %d", name, len(got[name]), len(want))
		}
	}
	// A folder stands before what is in it: the kernel makes none by itself.
	if s := strings.Join(names, " "); !strings.HasPrefix(s, "release release/manifest.json") ||
		!strings.Contains(s, "release/deep release/deep/er release/deep/er/file.txt") {
		t.Errorf("order %s", s)
	}
}

func TestLayoutRefuses(t *testing.T) {
	for _, files := range [][]File{
		{{Name: "", Size: 1}}, {{Name: "/a", Size: 1}}, {{Name: "../a", Size: 1}}, {{Name: "a/../b", Size: 1}}, {{Name: "a/", Size: 1}}, {{Name: ".", Size: 1}}, {{Name: Trailer, Size: 1}}, {{Name: "a", Size: -1}}, {{Name: "a", Size: 1 << 32}},
		{{Name: "a", Size: 1}, {Name: "a", Size: 1}}, {{Name: "a/b", Size: 1}, {Name: "a", Size: 1}}, {{Name: "a", Size: 1}, {Name: "a/b", Size: 1}}, {{Name: "a\x00b", Size: 1}}, {{Name: strings.Repeat("a", maxName), Size: 1}},
	} {
		if _, err := NewLayout(0, files); err == nil {
			t.Errorf("%.60v is accepted", files)
		}
	}
	if _, err := NewLayout(-1, nil); err == nil {
		t.Error("a prefix of -1 bytes is accepted")
	}
}

// FuzzLayout states: every layout reads back as the files it was made for.
func FuzzLayout(f *testing.F) {
	f.Add(int64(5), "a/b", int64(3), "a/c", int64(0))
	f.Add(int64(0), "release/deep/er/rootfs", int64(1), "x", int64(4096))
	f.Fuzz(func(t *testing.T, prefix int64, a string, sizeA int64, b string, sizeB int64) {
		l, err := NewLayout(prefix, []File{{Name: a, Size: sizeA}, {Name: b, Size: sizeB}})
		if err != nil || l.Size() > 1<<20 {
			return
		}
		buf := make(buffer, l.Size())
		if err := l.WriteFrame(buf); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{a, b} {
			at, size, ok := l.Offset(name)
			if !ok || at < prefix || at+size > l.Size() {
				t.Fatalf("%q lies at %d with %d bytes of %d", name, at, size, l.Size())
			}
			for i := range size {
				buf[at+i] = name[len(name)-1]
			}
		}
		found := 0
		for _, e := range read(t, buf[align(prefix):]) {
			if _, size, ok := l.Offset(e.Name); ok {
				found++
				content, err := io.ReadAll(io.NewSectionReader(e, 0, int64(e.FileSize)))
				if want := strings.Repeat(e.Name[len(e.Name)-1:], int(size)); err != nil || string(content) != want {
					t.Errorf("%q reads back as %q, %v", e.Name, content, err)
				}
			}
		}
		if found != 2 {
			t.Errorf("of %q and %q %d read back", a, b, found)
		}
	})
}

type buffer []byte

func (b buffer) WriteAt(p []byte, at int64) (int, error) { return copy(b[at:], p), nil }
