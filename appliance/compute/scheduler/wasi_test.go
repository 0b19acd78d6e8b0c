package scheduler

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/compute/worker"
)

// TestDescriptors: what a module sees that calls WASI itself. The numbers are WASI's: 8 badf, 28 inval, 37 nametoolong,
// 57 notsock; an event is userdata:error:kind.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("target", filepath.Join(dir, "good")); err != nil {
		t.Fatal(err)
	}
	stdin, never, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer never.Close()
	p := probeTask(t, "wasi")
	p.Folders, p.Stdin = []worker.Folder{{Host: dir, Guest: "/d"}}, stdin
	_, stdout, stderr := run(t, p)
	want := `writable 1:0:2 
no descriptor 1:8:1 
nothing to read 2:0:0 
a time that has passed 1:0:0 
a time to come 1:0:0 
no such clock error 28
a short buffer 0 ta
a link that is followed 28
no socket 57 8
a name too long 37 0
onto what is not open 8 8
onto a stream 0 0 8
`
	if stdout != want {
		t.Errorf("the probe prints\n%s, not\n%s%s", stdout, want, stderr)
	}
}

func TestPwriteToAFileThatIsAppendedTo(t *testing.T) {
	dir := t.TempDir()
	p := probeTask(t, "pwrite", "/d/file")
	p.Folders = []worker.Folder{{Host: dir, Guest: "/d"}}
	p.Stdout, p.Stderr = io.Discard, io.Discard
	if result, err := Run(t.Context(), p); err != nil || result.ExitCode != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || !bytes.Equal(got, []byte("firstsecond")) {
		t.Errorf("the file holds %q, %v", got, err)
	}
}
