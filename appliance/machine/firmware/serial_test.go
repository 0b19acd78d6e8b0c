package firmware

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSerial: what there is of serial numbers and hardware addresses names the
// machine, and nothing of what is no hardware.
func TestSerial(t *testing.T) {
	root := t.TempDir()
	if got := Serial(root); len(got) != 0 {
		t.Errorf("of nothing: %q", got)
	}
	for path, text := range map[string]string{
		"sys/class/dmi/id/product_uuid":       "1234\n",
		"sys/class/dmi/id/product_serial":     "\n",
		"sys/class/net/eth0/address":          "02:00:00:00:00:01\n",
		"sys/class/net/eth0/device/something": "",
		"sys/class/net/lo/address":            "00:00:00:00:00:00\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := string(Serial(root)), "product_uuid 1234\naddress 02:00:00:00:00:01"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
