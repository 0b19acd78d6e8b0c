package hostfs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func folder(t *testing.T, readOnly bool) (*Folder, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return NewFolder(FileOf(f), readOnly), dir
}

// TestReadOnly: every way to change something in a read-only folder is refused,
// and reading is not.
func TestReadOnly(t *testing.T) {
	f, dir := folder(t, true)
	other, _ := folder(t, false)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(flags int) error {
		_, err := f.Open("file", flags, 0o600)
		return err
	}
	for what, err := range map[string]error{
		"writing": open(unix.O_WRONLY), "both": open(unix.O_RDWR), "creating": open(unix.O_CREAT), "truncating": open(unix.O_TRUNC),
		"a directory": f.Mkdir("dir", 0o700), "removing": f.Rmdir("file"), "unlinking": f.Unlink("file"),
		"moving": f.Rename("file", other, "file"), "moving in": other.Rename("x", f, "x"), "linking": f.Link("file", other, "file"),
		"a link": f.Symlink("file", "link"), "times": f.Times("file", true, Now, Omit),
	} {
		if err != unix.EROFS {
			t.Errorf("%s: %v", what, err)
		}
	}
	file, err := f.Open("file", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	to := [][]byte{make([]byte, 1), make([]byte, 10)}
	if n, err := file.Read(to); n != 4 || err != nil || to[0][0] != 't' || string(to[1][:3]) != "ext" {
		t.Errorf("read %d bytes, %q, %v", n, to, err)
	}
}

// TestEntries: a directory is read to its end, and on from any entry.
func TestEntries(t *testing.T) {
	f, _ := folder(t, false)
	for _, name := range []string{"a", "b", "c"} {
		if err := f.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := f.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	read := func() (names []string, last []Entry) {
		buffer := make([]byte, 100) // not for all at once
		for {
			entries, err := dir.Entries(buffer)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) == 0 {
				return names, last
			}
			for _, e := range entries {
				if e.Type != unix.DT_DIR || e.Inode == 0 {
					t.Errorf("%+v", e)
				}
				names, last = append(names, e.Name), append(last, e)
			}
		}
	}
	names, entries := read()
	if sorted := slices.Sorted(slices.Values(names)); !slices.Equal(sorted, []string{".", "..", "a", "b", "c"}) {
		t.Fatalf("it holds %q", names)
	}
	if _, err := dir.Seek(entries[1].Next, 0); err != nil {
		t.Fatal(err)
	}
	if rest, _ := read(); !slices.Equal(rest, names[2:]) {
		t.Errorf("after the second of %q come %q", names, rest)
	}
}

// TestPoll: a pipe is ready once something is in it, and tells of its end.
func TestPoll(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	wait := []Wait{{File: FileOf(in)}, {File: FileOf(out), Write: true}}
	poll := func(files []Wait) {
		t.Helper()
		if err := Poll(files, 0); err != nil {
			t.Fatal(err)
		}
	}
	if poll(wait); wait[0].Ready || !wait[1].Ready || wait[1].Ended {
		t.Errorf("an empty pipe: %+v", wait)
	}
	if _, err := out.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if poll(wait); !wait[0].Ready || wait[0].Bytes != 4 || wait[0].Ended {
		t.Errorf("a pipe with four bytes: %+v", wait[0])
	}
	out.Close()
	if poll(wait[:1]); !wait[0].Ready || !wait[0].Ended {
		t.Errorf("a pipe that has ended: %+v", wait[0])
	}
}
