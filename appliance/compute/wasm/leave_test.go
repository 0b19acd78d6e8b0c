package wasm

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// outside makes a folder to give away, beside a secret, with every kind of link
// that leads out of it.
func outside(t *testing.T) (dir, secret string) {
	t.Helper()
	around := t.TempDir()
	dir, secret = filepath.Join(around, "given"), filepath.Join(around, "secret")
	then := time.Unix(1000000000, 0)
	for _, step := range []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.Mkdir(secret, 0o755),
		os.WriteFile(filepath.Join(secret, "file"), []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o644),
		os.Symlink("..", filepath.Join(dir, "up")),
		os.Symlink("../secret", filepath.Join(dir, "relative")),
		os.Symlink(secret, filepath.Join(dir, "absolute")),
		os.Symlink("../secret/file", filepath.Join(dir, "file")),
		os.Symlink("relative", filepath.Join(dir, "twice")),
		os.Symlink("../../secret", filepath.Join(dir, "sub", "further")),
		os.Symlink("/proc/self/root", filepath.Join(dir, "magic")),
		os.Symlink("../nothing", filepath.Join(dir, "gone")),
		os.Chtimes(filepath.Join(secret, "file"), then, then),
		os.Chtimes(secret, then, then),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	return dir, secret
}

// pathsOut are paths that lead out of such a folder. A module that gets through
// by one of them destroys the secret, not a file of the machine.
func pathsOut(secret string) []string {
	return []string{
		"..", "../", "../secret", "./../secret/file", "sub/../../secret/file", "sub/../..", "/", "//", secret + "/file", "/..",
		"up/secret/file", "up/", "relative/file", "relative/", "absolute/file", "absolute/", "twice/file", "twice/",
		"sub/further/file", "sub/further/", "magic" + secret + "/file", "magic/", "relative/new", "absolute/../secret/file",
	}
}

func TestPathsThatLeave(t *testing.T) {
	dir, secret := outside(t)
	before, err := os.Stat(secret)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuest(t, Config{}, dir)
	const fd = 3
	sub, no := g.open(fd, "sub", onlyDirectory, 0, 0)
	if no != success {
		t.Fatal(no)
	}
	at := g.room(64)
	for _, name := range append(pathsOut(secret), "file", "relative", "absolute", "twice", "magic") {
		for what, no := range map[string]errno{
			"opened":     g.call("path_open", fd, follow, name, 0, mayRead, rights(0), 0, at),
			"created":    g.call("path_open", fd, follow, name, create, mayWrite, rights(0), 0, at),
			"truncated":  g.call("path_open", fd, follow, name, truncate, mayWrite, rights(0), 0, at),
			"described":  g.call("path_filestat_get", fd, follow, name, at),
			"touched":    g.call("path_filestat_set_times", fd, follow, name, 1, 1, 5),
			"moved onto": g.call("path_rename", fd, "mine", fd, name+"/x"),
			"made":       g.call("path_create_directory", fd, name+"/x"),
		} {
			if no == success {
				t.Errorf("%s was %s", name, what)
			}
		}
	}
	for _, name := range pathsOut(secret) {
		for what, no := range map[string]errno{
			"opened itself":    g.call("path_open", fd, 0, name, 0, mayRead, rights(0), 0, at),
			"described itself": g.call("path_filestat_get", fd, 0, name, at),
			"touched itself":   g.call("path_filestat_set_times", fd, 0, name, 1, 1, 5),
			"read as a link":   g.call("path_readlink", fd, name, at, 64, at),
			"linked":           g.call("path_link", fd, 0, name, fd, "linked"),
			"moved":            g.call("path_rename", fd, name, fd, "moved"),
			"unlinked":         g.call("path_unlink_file", fd, name),
			"removed":          g.call("path_remove_directory", fd, name),
			"made a link":      g.call("path_symlink", "target", fd, name),
			"linked onto":      g.call("path_link", fd, 0, "mine", fd, name),
		} {
			if no == success {
				t.Errorf("%s was %s", name, what)
			}
		}
	}
	// A directory that was opened is a folder of its own.
	for _, name := range []string{"..", "../mine", "further", "further/file", "../sub"} {
		if no := g.call("path_filestat_get", sub, follow, name, at); no != perm {
			t.Errorf("from a folder in the folder, %s: %d", name, no)
		}
	}
	// What is or is not outside makes no difference.
	for what, no := range map[string]errno{
		"an absolute link":               g.call("path_symlink", "/etc/passwd", fd, "etc"),
		"a name for what is not there":   g.call("path_link", fd, 0, "gone/", fd, "linked"),
		"a name for what is there":       g.call("path_link", fd, 0, "relative/", fd, "linked"),
		"what is not there":              g.call("path_filestat_get", fd, 0, "gone/", at),
		"a directory in the place of ..": g.call("path_create_directory", fd, ".."),
		"a directory in the place of /":  g.call("path_create_directory", fd, "/"),
		"removing the folder around":     g.call("path_remove_directory", fd, ".."),
		"removing the root":              g.call("path_remove_directory", fd, "/"),
		"moving the folder around":       g.call("path_rename", fd, "..", fd, "x"),
		"moving to the folder around":    g.call("path_rename", fd, "sub", fd, "sub/../.."),
	} {
		if no != perm {
			t.Errorf("%s: %d", what, no)
		}
	}
	if text, err := os.ReadFile(filepath.Join(secret, "file")); err != nil || string(text) != "secret" {
		t.Errorf("the secret is %q, %v", text, err)
	}
	if after, err := os.Stat(secret); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the folder outside was changed: %v", err)
	}
	if info, err := os.Stat(filepath.Join(secret, "file")); err != nil || info.ModTime().Unix() != 1000000000 {
		t.Errorf("the file outside was touched: %v", err)
	}
}

// TestLinkInTime: a directory becomes a link that leads out, and back, while
// the module walks through it.
func TestLinkInTime(t *testing.T) {
	dir, _ := outside(t)
	swap := filepath.Join(dir, "swap")
	inside, away := filepath.Join(dir, "inside"), filepath.Join(dir, "away")
	for _, step := range []error{
		os.Mkdir(inside, 0o755), os.WriteFile(filepath.Join(inside, "file"), []byte("inside"), 0o644),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			os.Rename(inside, swap)
			os.Rename(swap, inside)
			os.Symlink("../secret", swap)
			os.Rename(swap, away)
			os.Remove(away)
		}
	}()
	g := newGuest(t, Config{}, dir)
	begin, came, refused := g.free, 0, 0
	for limit := time.Now().Add(5 * time.Minute); came < 100 || refused < 100; {
		if time.Now().After(limit) {
			t.Fatalf("the path was there %d times, and the link %d times", came, refused)
		}
		g.free = begin
		fd, no := g.open(3, "swap/file", 0, mayRead, 0)
		if no == perm {
			refused++
		}
		if no != success {
			continue
		}
		text, _ := g.read(fd)
		g.must("fd_close", fd)
		if came++; text != "inside" {
			t.Fatalf("read %q", text)
		}
	}
	stop.Store(true)
	<-done
}

func TestAReadOnlyFolderStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	then := time.Unix(1000000000, 0)
	for _, step := range []error{
		os.WriteFile(name, []byte("text"), 0o644), os.Chtimes(name, then, then), os.Mkdir(filepath.Join(dir, "sub"), 0o755),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	const rofs errno = 69
	g := newGuest(t, readOnly(dir, t), t.TempDir())
	const fixed, other = 3, 4
	if fd, no := g.open(other, "new", create, mayWrite, 0); no != success || g.write(fd, "x") != success {
		t.Fatalf("the other folder: %d", no)
	}
	sub, no := g.open(fixed, "sub", onlyDirectory, 0, 0)
	if no != success {
		t.Fatal(no)
	}
	fd, no := g.open(fixed, "file", 0, mayRead, 0)
	if no != success {
		t.Fatal(no)
	}
	at := g.room(8)
	for what, no := range map[string]errno{
		"writing":             g.call("path_open", fixed, 0, "file", 0, mayRead|mayWrite, rights(0), 0, at),
		"creating":            g.call("path_open", fixed, 0, "new", create, mayRead, rights(0), 0, at),
		"creating below":      g.call("path_open", sub, 0, "new", create, mayRead, rights(0), 0, at),
		"truncating":          g.call("path_open", fixed, 0, "file", truncate, mayRead, rights(0), 0, at),
		"times of a path":     g.call("path_filestat_set_times", fixed, 0, "file", 1, 1, 5),
		"times of a file":     g.call("fd_filestat_set_times", fd, 1, 1, 5),
		"times of the folder": g.call("fd_filestat_set_times", fixed, 1, 1, 5),
		"a directory":         g.call("path_create_directory", fixed, "new"),
		"a directory below":   g.call("path_create_directory", sub, "new"),
		"removing":            g.call("path_remove_directory", fixed, "sub"),
		"unlinking":           g.call("path_unlink_file", fixed, "file"),
		"renaming":            g.call("path_rename", fixed, "file", fixed, "new"),
		"moving away":         g.call("path_rename", fixed, "file", other, "file"),
		"moving in":           g.call("path_rename", other, "new", fixed, "new"),
		"linking away":        g.call("path_link", fixed, 0, "file", other, "file"),
		"linking in":          g.call("path_link", other, 0, "new", fixed, "new"),
		"a link":              g.call("path_symlink", "file", fixed, "new"),
	} {
		if no != rofs {
			t.Errorf("%s: %d", what, no)
		}
	}
	if no := g.write(fd, "x"); no != badf {
		t.Errorf("writing to it: %d", no)
	}
	for what, no := range map[string]errno{
		"another size": g.call("fd_filestat_set_size", fd, 0), "room": g.call("fd_allocate", fd, 0, 100),
	} {
		if no == success {
			t.Errorf("%s was granted", what)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 4 || !info.ModTime().Equal(then) {
		t.Errorf("the file is now %v, %v", info, err)
	}
}
