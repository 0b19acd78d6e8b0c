package wasm

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	experimental "github.com/tetratelabs/wazero/experimental/sys"

	"phase/appliance/sandbox"
)

func given(t *testing.T, dir string, readOnly bool) folder {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return folder{Folder: sandbox.NewFolder(f, readOnly)}
}

func TestFilesOfAReadOnlyFolderStayAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	then := time.Unix(1000000000, 0)
	if err := os.WriteFile(name, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, then, then); err != nil {
		t.Fatal(err)
	}
	f, no := given(t, dir, true).OpenFile("file", experimental.O_RDONLY, 0)
	if no != 0 {
		t.Fatal(no)
	}
	defer f.Close()
	if no := f.Utimens(0, 0); no != experimental.EROFS {
		t.Errorf("changing its times: %v", no)
	}
	if _, no := f.Write([]byte("x")); no == 0 {
		t.Error("wrote to it")
	}
	if no := f.Truncate(0); no == 0 {
		t.Error("truncated it")
	}
	info, err := os.Stat(name)
	if err != nil || info.Size() != 4 || !info.ModTime().Equal(then) {
		t.Errorf("it is now %v, %v", info, err)
	}
}

func TestAFileOutlivesItsName(t *testing.T) {
	dir := t.TempDir()
	f := given(t, dir, false)
	file, no := f.OpenFile("file", experimental.O_RDWR|experimental.O_CREAT|experimental.O_EXCL, 0o600)
	if no != 0 {
		t.Fatal(no)
	}
	defer file.Close()
	if no := f.Unlink("file"); no != 0 {
		t.Fatal(no)
	}
	// wazero opens the file again to do this.
	if no := file.SetAppend(true); no != 0 {
		t.Errorf("SetAppend: %v", no)
	}
	if n, no := file.Write([]byte("text")); n != 4 || no != 0 {
		t.Errorf("Write: %d, %v", n, no)
	}
}

func TestPathsThatLeave(t *testing.T) {
	dir := t.TempDir()
	f := given(t, dir, false)
	for _, name := range []string{"..", "../x", "./../x", "/..", "//../x"} {
		if _, no := f.Stat(name); no != experimental.EPERM {
			t.Errorf("Stat(%q): %v", name, no)
		}
		if no := f.Mkdir(name, 0o755); no == 0 {
			t.Errorf("Mkdir(%q) went through", name)
		}
	}
	if _, no := f.Stat("/"); no != 0 {
		t.Errorf("Stat(/): %v", no)
	}
}
