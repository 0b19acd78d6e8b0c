package packaging

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/program"
)

func TestRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	whole := []string{"deb", "--time", "1", "--programs", filepath.Dir(file), "--own", file, "--out", filepath.Dir(file)}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{append(whole, "--package-version", "v1"), 2, `"v1" is no version of a package`},
		{append(whole, "--package-version", "1-2"), 2, "is no version of a package"},
		{[]string{"php", "--time", "1", "--package-version", "dev", "--out", filepath.Dir(file)}, 2, `"dev" is no version of a package`},
		{[]string{"php", "--time", "1", "--package-version", "1", "--checkout", "nowhere", "--out", filepath.Dir(file)}, 1, "nowhere"},
		{append(whole, "--package-version", "1", "--arch", "riscv64"), 2, "riscv64"},
		{append(whole, "--package-version", "1"), 1, "phase"}, // there are no programs
		{whole, 2, "package-version"},
	} {
		err := Run(t.Context(), c.args, strings.NewReader(""), io.Discard, io.Discard)
		if code, _ := program.Code(err); code != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v: %v, want code %d and %q", c.args, err, c.code, c.text)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "phase*")); err != nil || len(left) > 0 {
		t.Error("a package was written all the same:", left, err)
	}
}

// The archive has the version at its root, where Composer looks for it, all classes,
// and none of the tests.
func TestPHP(t *testing.T) {
	when := time.Unix(1795975009, 0).UTC()
	data, err := archivePHP("..", "0.7", when)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := archivePHP("..", "0.7", when); err != nil || !bytes.Equal(data, again) {
		t.Error("the same inputs gave other bytes", err)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"src/Client.php", "src/Receipt.php", "autoload.php", "LICENSE"} {
		if _, err := z.Open(name); err != nil {
			t.Error(err)
		}
	}
	for _, f := range z.File {
		if strings.Contains(strings.ToLower(f.Name), "test") || !f.Modified.Equal(when) {
			t.Errorf("%s of %v", f.Name, f.Modified)
		}
	}
	f, err := z.Open("composer.json")
	if err != nil {
		t.Fatal(err)
	}
	var composer struct{ Name, Version string }
	text, err := io.ReadAll(f)
	if err != nil || json.Unmarshal(text, &composer) != nil || composer.Name != "phase/sdk" || composer.Version != "0.7" {
		t.Errorf("composer.json: %s, %v", text, err)
	}
}
