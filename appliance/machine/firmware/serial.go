package firmware

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// serials are what makers number machines by (Documentation/ABI/testing/sysfs-class-dmi
// is silent; drivers/firmware/dmi-id.c of Linux makes them). Only root may read them.
var serials = []string{"product_uuid", "product_serial", "board_serial", "chassis_serial"}

// maxSerial is the most that is read of each, in bytes.
const maxSerial = 256

// Serial is what this machine is known by to itself and no other: its serial
// numbers and the hardware addresses of its network interfaces, one a line. root is
// the root of the file system. It is empty where there is nothing of that kind.
func Serial(root string) []byte {
	var found []string
	for _, name := range serials {
		if text := firstLine(filepath.Join(root, "sys/class/dmi/id", name)); text != "" {
			found = append(found, name+" "+text)
		}
	}
	// Only interfaces that are hardware have a device.
	nics, _ := filepath.Glob(filepath.Join(root, "sys/class/net/*/device"))
	slices.Sort(nics)
	for _, device := range nics {
		if text := firstLine(filepath.Join(filepath.Dir(device), "address")); text != "" {
			found = append(found, "address "+text)
		}
	}
	return []byte(strings.Join(found, "\n"))
}

func firstLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data := make([]byte, maxSerial)
	n, _ := f.Read(data)
	line, _, _ := strings.Cut(string(data[:n]), "\n")
	return strings.TrimSpace(line)
}
