package images

import (
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/settings"
)

// TestMenu: the boot menu has an entry a mode, in the order of its numbers; what
// is started by itself says no mode, and all else of the command lines is what
// the BIOS loader has.
func TestMenu(t *testing.T) {
	for _, arch := range names.Arches {
		s := spec(t, handmade(t, arch), t.TempDir())
		assemble(t, s)
		f, err := os.Open(s.Disk)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		image, err := flash.OpenImage(f)
		if err != nil {
			t.Fatal(err)
		}
		text := func(name string) string {
			data, err := image.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimRight(string(data), "\x00")
		}
		entries := slices.DeleteFunc(slices.Sorted(maps.Keys(image.Files)), func(name string) bool { return !strings.HasPrefix(name, disk.EntryFolder) })
		want := []settings.Mode{"", settings.Local, settings.Private}
		if len(entries) != len(want) {
			t.Fatalf("%s: the menu has %q", arch, entries)
		}
		for i, mode := range want {
			_, options, _ := strings.Cut(text(entries[i]), "\noptions ")
			line := text(disk.CmdlineFile)
			if mode != "" {
				line += " phase.mode=" + string(mode)
			}
			if options != line+"\n" {
				t.Errorf("%s: %s has the options %q, want %q", arch, entries[i], options, line)
			}
		}
		if conf := text("loader/loader.conf"); !strings.Contains(conf, "default "+path.Base(disk.EntryFile)+"\n") || entries[0] != disk.EntryFile || !strings.Contains(conf, "timeout 0\n") {
			t.Errorf("%s: loader.conf says %q", arch, conf)
		}
	}
}
