package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGoClient: a program of its own comes by the packages as docs/jobs.md says, and
// the client that the page shows is built with them.
func TestGoClient(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/jobs.md"))
	if err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(page), "\n## From Go\n")
	client := regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```").FindStringSubmatch(after)
	commands := regexp.MustCompile("(?ms)^```sh\n(go mod init .*?)^```").FindStringSubmatch(after)
	if !found || client == nil || commands == nil {
		t.Fatal("docs/jobs.md has no commands or no client any more")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), client[1], 0o600)
	script := strings.ReplaceAll(commands[1], "/path/to/the/checkout", checkout) + "\ngo build -o /dev/null .\n"
	shell := exec.Command("sh", "-eu", "-c", script)
	shell.Dir = dir
	if out, err := shell.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
