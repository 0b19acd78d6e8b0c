package evidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/release/evidence"
	"phase/tests/storetest"
)

// What is kept is kept once, byte for byte, and never without end.
func TestKeep(t *testing.T) {
	signer, dir := storetest.NewSigner(t), filepath.Join(t.TempDir(), "evidence")
	kept := 0
	for version := range uint64(evidence.Most + 5) {
		data := signer.Release(t, "stable", "x86_64", version+1, storetest.Sizes).Envelope()
		path, err := evidence.Keep(dir, data)
		if err != nil {
			t.Fatal(err)
		}
		if path == "" {
			continue
		}
		kept++
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s is not what was given: %v", path, err)
		}
		if again, err := evidence.Keep(dir, data); again != "" || err != nil {
			t.Errorf("it was kept once more: %q, %v", again, err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || kept != evidence.Most || len(files) != kept {
		t.Errorf("%d were kept, %d files are there: %v", kept, len(files), err)
	}
	if path, err := evidence.Keep(dir, []byte("no envelope")); path != "" || err == nil {
		t.Errorf("what is no envelope was kept: %q", path)
	}
}
