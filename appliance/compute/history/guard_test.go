package history

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file that is cut short under the daemon ends nothing but the history.
func TestCutWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	h := open(t, path, wide)
	for n := range 300 {
		finish(t, h, n)
	}
	if err := h.Begin(entry(1000), nonce(1000)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := h.End(done(entry(1000))); !errors.Is(err, ErrDamaged) {
		t.Errorf("the end of a run: %v", err)
	}
	if err := h.Begin(entry(1001), nonce(1001)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a run: %v", err)
	}
	if _, err := h.Get(entry(1).RunID); !errors.Is(err, ErrDamaged) {
		t.Errorf("a run from before: %v", err)
	}
	if _, _, err := h.List("", 10); !errors.Is(err, ErrDamaged) {
		t.Errorf("all runs: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
