package packaging

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// sdkName is the name by which Composer knows the SDK; its line in composer.json is
// where the version goes, as an archive needs one and a checkout must not have one.
const sdkName = `    "name": "phase/sdk",` + "\n"

// sdkFiles is what of sdk/php is in the archive: folders whole.
var sdkFiles = []string{"README.md", "autoload.php", "composer.json", "examples", "src"}

// archivePHP makes a zip of the SDK for PHP, whose files are all of one time, out of
// a checkout: what Composer calls an artifact.
func archivePHP(checkout, version string, when time.Time) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name string, data []byte) error {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: when}
		h.SetMode(0o644)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	files := os.DirFS(filepath.Join(checkout, "sdk", "php"))
	for _, top := range sdkFiles {
		err := fs.WalkDir(files, top, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(files, name)
			if err == nil && name == "composer.json" {
				data, err = versioned(data, version)
			}
			if err != nil {
				return err
			}
			return add(path.Clean(name), data)
		})
		if err != nil {
			return nil, fmt.Errorf("reading the SDK in %s: %w", checkout, err)
		}
	}
	licence, err := os.ReadFile(filepath.Join(checkout, "LICENSE"))
	if err == nil {
		err = add("LICENSE", licence)
	}
	// What it holds is whole only once it is closed.
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// versioned is composer.json with a version.
func versioned(data []byte, version string) ([]byte, error) {
	before, after, ok := strings.Cut(string(data), sdkName)
	if !ok {
		return nil, fmt.Errorf("composer.json has no line %q", strings.TrimSpace(sdkName))
	}
	return fmt.Appendf(nil, "%s%s    \"version\": %q,\n%s", before, sdkName, version, after), nil
}
