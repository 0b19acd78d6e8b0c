package worker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What was opened is what is started, whatever lies at its path by then; another
// file than the one that was built is refused.
func TestOpenTakesOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	const build = "ELF" // every program begins with that
	write(string(own), 0o755)
	opened, err := open(path, build)
	if err != nil {
		t.Fatal(err)
	}
	write("another", 0o755)
	if _, err := open(path, build); err == nil || !strings.Contains(err.Error(), "is of another build") {
		t.Errorf("another file: %v", err)
	}
	out, err := (&exec.Cmd{Path: opened, Args: []string{File, "-test.run=^$"}}).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("the file that was opened: %v: %s", err, out)
	}
	write(build, 0o644)
	if _, err := open(path, build); err == nil || !strings.Contains(err.Error(), "is not executable") {
		t.Errorf("a file that cannot be started: %v", err)
	}
	write("", 0o755)
	if _, err := open(path, build); err == nil {
		t.Error("an empty file is taken")
	}
	if _, err := open(path+".not", build); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
