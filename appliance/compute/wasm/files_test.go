package wasm

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRights(t *testing.T) {
	g := newGuest(t, Config{}, t.TempDir())
	const dir = 3
	fd, no := g.open(dir, "file", create, mayRead|mayWrite, 0)
	if no != success || g.write(fd, "text") != success {
		t.Fatal(no)
	}
	_, _, base, inheriting := g.stat(fd)
	if base != ofFile || inheriting != 0 {
		t.Errorf("a file has the rights %b, %b", base, inheriting)
	}
	only, _ := g.open(dir, "file", 0, mayRead, 0)
	if _, _, base, _ := g.stat(only); base != ofFile&^mayWrite {
		t.Errorf("a file that is read has the rights %b", base)
	}
	if no := g.write(only, "x"); no != badf {
		t.Errorf("writing to a file that is read: %d", no)
	}
	if neither, _ := g.open(dir, "file", 0, 0, 0); neither == 0 {
		t.Error("a file that is neither read nor written was not opened")
	} else if _, no := g.read(neither); no != badf {
		t.Errorf("reading a file that was opened for nothing: %d", no)
	}
	// Given up, by the file and by what is opened in the folder.
	g.must("fd_fdstat_set_rights", fd, base&^(mayRead|maySetSize), rights(0))
	if _, no := g.read(fd); no != badf {
		t.Errorf("reading without the right to: %d", no)
	}
	if no := g.call("fd_filestat_set_size", fd, 0); no != notcapable {
		t.Errorf("truncating without the right to: %d", no)
	}
	if no := g.call("fd_fdstat_set_rights", fd, base, rights(0)); no != notcapable {
		t.Errorf("taking a right back: %d", no)
	}
	_, _, base, inheriting = g.stat(dir)
	if base != ofDirectory || inheriting != ofDirectory|ofFile {
		t.Errorf("a folder has the rights %b, %b", base, inheriting)
	}
	g.must("fd_fdstat_set_rights", dir, base&^(mayPathSetSize|mayUnlink), inheriting&^mayWrite)
	if _, no := g.open(dir, "file", truncate, mayRead, 0); no != notcapable {
		t.Errorf("truncating by a path without the right to: %d", no)
	}
	if no := g.call("path_unlink_file", dir, "file"); no != notcapable {
		t.Errorf("unlinking without the right to: %d", no)
	}
	if fd, no := g.open(dir, "file", 0, mayRead|mayWrite, 0); no != success || g.write(fd, "x") != badf {
		t.Errorf("writing where nothing that is opened may be written: %d", no)
	}
}

// TestReaddirWhileDeleting: what is read before it is deleted changes nothing
// for what comes after, however small the buffer.
func TestReaddirWhileDeleting(t *testing.T) {
	dir := t.TempDir()
	const files = 1500
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file %d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("x", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, Config{}, dir)
	const size = 100 // four entries at most
	buffer, used := g.room(size), g.room(4)
	seen := map[string]byte{}
	begin := g.free
	list := func(cookie int) (names []string, next int, end bool) {
		g.must("fd_readdir", 3, buffer, size, cookie, used)
		b := g.bytes(buffer, g.number(used))
		next, end = cookie, len(b) < size
		for len(b) >= entrySize {
			name := entrySize + int(binary.LittleEndian.Uint32(b[16:]))
			if name > len(b) {
				break
			}
			next = int(binary.LittleEndian.Uint64(b))
			seen[string(b[entrySize:name])] = b[20]
			names = append(names, string(b[entrySize:name]))
			b = b[name:]
		}
		return names, next, end
	}
	for cookie, end := 0, false; !end; {
		g.free = begin
		var names []string
		names, cookie, end = list(cookie)
		for _, name := range names {
			if strings.HasPrefix(name, "file") {
				g.must("path_unlink_file", 3, name)
			}
		}
	}
	if len(seen) != files+3 || seen["."] != directory || seen[".."] != directory || seen["file 7"] != regular || seen["link"] != symbolic {
		t.Errorf("%d entries of %d; . is %d, a file %d, a link %d", len(seen), files+3, seen["."], seen["file 7"], seen["link"])
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%d files were left over, %v", len(left)-1, err)
	}
	// From the beginning again, from the middle, and from behind the end.
	first, middle, _ := list(0)
	again, _, _ := list(0)
	rest, _, _ := list(1)
	if !slices.Equal(first, again) || !slices.Equal(first[1:], rest) || middle != 3 {
		t.Errorf("%q, then %q; from the second on %q", first, again, rest)
	}
	if names, _, end := list(1000); len(names) != 0 || !end {
		t.Errorf("behind the end: %q", names)
	}
	if no := g.call("fd_readdir", 1, buffer, size, 0, used); no != notdir {
		t.Errorf("a stream: %d", no)
	}
}

func TestFromFolderToFolder(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	g := newGuest(t, Config{}, one, two)
	if fd, no := g.open(3, "file", create, mayWrite, 0); no != success || g.write(fd, "text") != success {
		t.Fatal(no)
	}
	g.must("path_link", 3, 0, "file", 4, "second")
	g.must("path_rename", 3, "file", 4, "first")
	for _, name := range []string{"first", "second"} {
		if text, err := os.ReadFile(filepath.Join(two, name)); err != nil || string(text) != "text" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := os.Stat(filepath.Join(one, "file")); err == nil {
		t.Error("what was moved is still there")
	}
	// A directory that has moved is still the one that was opened.
	g.must("path_create_directory", 3, "dir")
	dir, no := g.open(3, "dir", onlyDirectory, 0, 0)
	if no != success {
		t.Fatal(no)
	}
	g.must("path_rename", 3, "dir", 4, "moved")
	if _, no := g.open(dir, "in it", create, mayWrite, 0); no != success {
		t.Errorf("creating in a directory that has moved: %d", no)
	}
	if _, err := os.Stat(filepath.Join(two, "moved", "in it")); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "full", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, Config{}, dir)
	if _, no := g.open(3, "file", create, 0, 0); no != success {
		t.Fatal(no)
	}
	fd, _ := g.open(3, "file", 0, mayRead, 0)
	at := g.room(64)
	g.must("path_symlink", "loop", 3, "loop")
	for _, c := range []struct {
		what string
		got  errno
		want errno
	}{
		{"no name", g.call("path_filestat_get", 3, 0, "", at), noent},
		{"no name to open", g.call("path_open", 3, 0, "", 0, mayRead, rights(0), 0, at), noent},
		{"a name with a zero", g.call("path_filestat_get", 3, 0, "a\x00b", at), inval},
		{"a name that is not UTF-8", g.call("path_filestat_get", 3, 0, "\xff", at), ilseq},
		{"advice on a directory", g.call("fd_advise", 3, 0, 0, 0), badf},
		{"advice that is none", g.call("fd_advise", fd, 0, 0, 6), inval},
		{"a long name", g.call("path_filestat_get", 3, 0, strings.Repeat("x", 300), at), toolong},
		{"a full directory", g.call("path_remove_directory", 3, "full"), 55},
		{"a directory onto a full one", g.call("path_rename", 3, "full/sub", 3, "full"), 55},
		{"a directory into itself", g.call("path_rename", 3, "full", 3, "full/sub/x"), inval},
		{"a directory unlinked", g.call("path_unlink_file", 3, "full"), isdir},
		{"a file as a directory", g.call("path_remove_directory", 3, "file"), notdir},
		{"a file with a slash", g.call("path_filestat_get", 3, 0, "file/", at), notdir},
		{"a loop", g.call("path_filestat_get", 3, 1, "loop", at), 32},
		{"a link that is not followed", g.call("path_open", 3, 0, "loop", 0, mayRead, rights(0), 0, at), 32},
		{"what is there", g.call("path_create_directory", 3, "full"), 20},
		{"no link", g.call("path_readlink", 3, "file", at, 64, at), inval},
		{"a pipe that nobody reads", g.call("path_open", 3, 0, "pipe", 0, mayWrite, rights(0), nonblock, at), 60},
		{"a directory to write", g.call("path_open", 3, 0, "full", 0, mayWrite, rights(0), 0, at), isdir},
		{"a directory that is made by opening", g.call("path_open", 3, 0, "new", create|onlyDirectory, rights(0), rights(0), 0, at), inval},
		{"from a file", g.call("path_filestat_get", fd, 0, "x", at), notdir},
		{"from nothing", g.call("path_filestat_get", 77, 0, "x", at), badf},
		{"outside of memory", g.call("path_filestat_get", 3, 0, "file", 1<<30), fault},
		{"seeking in a directory", g.call("fd_seek", 3, 0, 0, at), badf},
		{"seeking before the beginning", g.call("fd_seek", fd, -1, 0, at), inval},
		{"seeking from nowhere", g.call("fd_seek", fd, 0, 3, at), inval},
		{"both times", g.call("fd_filestat_set_times", fd, 0, 0, 3), inval},
		{"a time that no file has", g.call("fd_filestat_set_times", fd, -1, 0, 1), overflow},
		{"flags that are for opening", g.call("fd_fdstat_set_flags", fd, sync), inval},
		{"reading a directory", g.call("fd_read", 3, at, 0, at), isdir},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

func TestTimesOfALink(t *testing.T) {
	dir := t.TempDir()
	g := newGuest(t, Config{}, dir)
	if _, no := g.open(3, "file", create, 0, 0); no != success {
		t.Fatal(no)
	}
	g.must("path_symlink", "file", 3, "link")
	g.must("path_filestat_set_times", 3, 0, "link", 0, 1_000_000_000, 4)
	g.must("path_filestat_set_times", 3, 1, "link", 0, 2_000_000_000, 4)
	for name, want := range map[string]int64{"link": 1, "file": 2} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.ModTime().Unix() != want {
			t.Errorf("%s: %v, %v", name, info.ModTime(), err)
		}
	}
	g.must("path_filestat_set_times", 3, 0, "file", 0, 0, 8)
	if info, err := os.Stat(filepath.Join(dir, "file")); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("now is %v, %v", info.ModTime(), err)
	}
}

func TestFlags(t *testing.T) {
	dir := t.TempDir()
	g := newGuest(t, Config{}, dir)
	fd, no := g.open(3, "file", create, mayRead|mayWrite, appended|sync)
	if no != success {
		t.Fatal(no)
	}
	if _, flags, _, _ := g.stat(fd); flags != appended|sync {
		t.Errorf("it has the flags %b", flags)
	}
	at := g.room(8)
	write := func(text string) {
		t.Helper()
		g.must("fd_seek", fd, 0, 0, at)
		if no := g.write(fd, text); no != success {
			t.Fatal(no)
		}
	}
	g.must("path_unlink_file", 3, "file") // it needs no name for any of this
	write("one")
	write("two")
	g.must("fd_fdstat_set_flags", fd, 0)
	write("O")
	g.must("fd_fdstat_set_flags", fd, appended)
	write("!")
	g.must("fd_seek", fd, 0, 0, at)
	if text, _ := g.read(fd); text != "Onetwo!" {
		t.Errorf("it holds %q", text)
	}
	if _, flags, _, _ := g.stat(fd); flags != appended|sync {
		t.Errorf("at the end it has the flags %b", flags)
	}
	g.must("fd_allocate", fd, 0, 100)
	g.must("fd_seek", fd, 0, 2, at)
	if size := g.number(at); size != 100 {
		t.Errorf("with room for 100 bytes it has %d", size)
	}
}

func TestFoldersAreNamedAsGiven(t *testing.T) {
	g := newGuest(t, Config{}, t.TempDir())
	dir := g.system.table[3].preopen
	at := g.room(100)
	g.must("fd_prestat_get", 3, at)
	if kind, size := g.number(at), g.number(at+4); kind != 0 || size != len(dir) {
		t.Errorf("it is of the kind %d, its name of %d bytes, not %d", kind, size, len(dir))
	}
	g.must("fd_prestat_dir_name", 3, at, 100)
	if name := string(g.bytes(at, len(dir))); name != dir {
		t.Errorf("it is %q, not %q", name, dir)
	}
	sub, _ := g.open(3, ".", onlyDirectory, 0, 0)
	for _, fd := range []int{0, sub, 77} {
		if no := g.call("fd_prestat_get", fd, at); no != badf {
			t.Errorf("descriptor %d: %d", fd, no)
		}
	}
	// Over the folder, which is gone then, and its number too.
	g.must("fd_renumber", sub, 3)
	for _, fd := range []int{sub, 3} {
		if no := g.call("fd_prestat_get", fd, at); no != badf {
			t.Errorf("descriptor %d after it was moved: %d", fd, no)
		}
	}
	if _, no := g.open(3, "file", create, 0, 0); no != success {
		t.Errorf("creating in it: %d", no)
	}
}
