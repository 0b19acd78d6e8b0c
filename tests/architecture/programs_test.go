package architecture

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestPrograms: the Go programs that pages show compile.
func TestPrograms(t *testing.T) {
	fenced := regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```")
	programs := 0
	for _, page := range files(t, ".md") {
		for _, m := range fenced.FindAllStringSubmatch(text(t, page), -1) {
			programs++
			file := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			vet := exec.CommandContext(t.Context(), "go", "vet", file)
			vet.Dir = root
			if out, err := vet.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", page, err, out)
			}
		}
	}
	if programs == 0 {
		t.Error("no program was read")
	}
}
