package images

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"phase/appliance/base/names"
	"phase/appliance/release/layout"
)

// A netboot set brings the whole release along, starts the kernel as firmware takes
// it, and its script names what is there. Machines start from it in tests/machines.
func TestNetboot(t *testing.T) {
	for _, arch := range names.Arches {
		s := spec(t, handmade(t, arch), t.TempDir())
		s.Netboot = filepath.Join(t.TempDir(), "netboot")
		r := assemble(t, s)
		file := func(name string) []byte { return read(t, filepath.Join(s.Netboot, name)) }
		if !bytes.Equal(file(NetbootKernel), read(t, s.Pieces.path(pieceImage))) {
			t.Errorf("%s: the kernel is not the one that firmware takes", arch)
		}
		initramfs := read(t, filepath.Join(r.Folder, layout.FileName("initramfs")))
		initrd := file(NetbootInitrd)
		if !bytes.HasPrefix(initrd, initramfs) {
			t.Fatalf("%s: the initrd does not begin with the initramfs", arch)
		}
		records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(initrd[(len(initramfs)+3)&^3:])))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, record := range records {
			if record.FileSize == 0 {
				continue
			}
			content := make([]byte, record.FileSize)
			if _, err := record.ReadAt(content, 0); err != nil {
				t.Fatal(err)
			}
			if name := strings.TrimPrefix(record.Name, "release/"); !bytes.Equal(content, read(t, filepath.Join(r.Folder, name))) {
				t.Errorf("%s: %s is another one", arch, record.Name)
			}
			found++
		}
		if found != 4 {
			t.Errorf("%s: %d files are carried", arch, found)
		}
		cmdline := strings.TrimSpace(string(file(NetbootCmdline)))
		if want := r.Manifest.Cmdline + " " + s.Pieces.Kernel.ConsoleArgs(); cmdline != want {
			t.Errorf("%s: command line %q", arch, cmdline)
		}
		var said []string
		for line := range strings.Lines(string(file(netbootScript))) {
			if !strings.HasPrefix(line, "#") {
				said = append(said, strings.TrimSpace(line))
			}
		}
		if want := []string{"kernel vmlinuz initrd=initrd " + cmdline, "initrd initrd", "boot"}; strings.Join(said, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: the script says %q", arch, said)
		}
	}
}
