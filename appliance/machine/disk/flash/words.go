package flash

import (
	"io"
	"strings"

	"phase/appliance/base/ui"
)

// Table writes disks for a person to choose from. fixed is what is said of those
// that are not removable.
func Table(w io.Writer, disks []Candidate, fixed string) error {
	rows := [][]string{{"disk", "size", "model", "bus", "holds", ""}}
	for _, d := range disks {
		rows = append(rows, []string{ui.Clean(d.Device), ui.Bytes(d.Size), ui.Clean(d.Model), ui.Clean(d.Bus), d.Lost(), d.remark(fixed)})
	}
	return ui.Table(w, rows)
}

func (c Candidate) remark(fixed string) string {
	var about []string
	for _, use := range c.Uses {
		about = append(about, map[string]string{"mount": "mounted on " + ui.Clean(use.Where), "swap": "swap", "device": "part of " + ui.Clean(use.Where)}[use.Kind])
	}
	if c.Refused == "" && !c.Removable && fixed != "" {
		about = append(about, fixed)
	}
	return strings.Join(about, ", ")
}

// Lost names what would be lost on a disk.
func (c Candidate) Lost() string {
	var parts []string
	for _, h := range c.Holds {
		what := ui.Clean(h.FileSystem)
		if what == "" {
			what = "unknown"
		}
		if h.Device != c.Device {
			what = ui.Clean(strings.TrimPrefix(h.Device, "/dev/")) + " " + what + " " + ui.Bytes(h.Size)
		}
		parts = append(parts, what)
	}
	if len(parts) == 0 {
		return "nothing known"
	}
	return strings.Join(parts, ", ")
}
