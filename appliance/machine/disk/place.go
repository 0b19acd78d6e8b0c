package disk

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// counted are the parts of a disk's path in sysfs that hold a number which the
// kernel counts up as it finds devices, in no order that it keeps to. What is
// left names bus, slot, port and unit.
var counted = []struct {
	part *regexp.Regexp
	kept string
}{
	{regexp.MustCompile(`^(host|virtio|nvme)\d+$`), "$1"},
	{regexp.MustCompile(`^target\d+:`), "target:"},
	{regexp.MustCompile(`^\d+(:\d+:\d+:\d+)$`), "$1"},
	{regexp.MustCompile(`^nvme\d+(c\d+)?n(\d+)$`), "n$2"},
	{regexp.MustCompile(`^(s|v|h|xv)d[a-z]+$`), ""}, // the name of the disk itself
}

// place names where a disk is connected, by the path of its folder in sysfs. It
// is 16 hexadecimal digits, for the command line of the next kernel.
func place(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		for _, c := range counted {
			if c.part.MatchString(part) {
				parts[i] = c.part.ReplaceAllString(part, c.kept)
				break
			}
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "/")))
	return hex.EncodeToString(sum[:8])
}
