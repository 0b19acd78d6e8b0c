package images

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/release/diskimage"
	"phase/kernel"
)

// TestBoard: the disk of a board is that of its arch, with the files of its
// firmware, and flashing it changes the command line that the firmware reads.
func TestBoard(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck")
	out := t.TempDir()
	s := spec(t, handmade(t, "arm64"), out)
	b, err := kernel.BoardFor("rpi")
	if err != nil {
		t.Fatal(err)
	}
	s.Board, s.BoardDisk = &b, boardPath(out, b)
	if _, err := Assemble(t.Context(), s); err == nil || !strings.Contains(err.Error(), "--board rpi") {
		t.Fatalf("without the files of the board: %v", err)
	}
	own := map[string][]byte{b.Started: noise(7, 2_000_000), "bcm2712-rpi-5-b.dtb": noise(8, 70_000), "start4.elf": noise(9, 300_000)}
	for name, data := range own {
		write(t, s.Pieces.path(b.Name, name), data)
	}
	own["config.txt"] = []byte(b.Config)
	r := assemble(t, s)
	checkDisk(t, s.BoardDisk)
	to := stick(t, 200<<20)
	if _, stderr, code := runImages("flash", s.BoardDisk, to, "--force", "--set", "phase.mode=local"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	f, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image, err := flash.OpenImage(f)
	if err != nil {
		t.Fatal(err)
	}
	if image.Table.ID == r.DiskID {
		t.Error("the stick has the identifiers of the image")
	}
	for name, want := range own {
		file, err := image.File(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, or other bytes", name, err)
		}
	}
	line, err := image.ReadFile(disk.CmdlineFile)
	root := "root=PARTUUID=" + image.Table.PartitionID(disk.Root).String() + " "
	if err != nil || len(line) != diskimage.CmdlineBytes || !bytes.HasSuffix(line, []byte("  ")) || !bytes.Contains(line, []byte(" console=serial0,115200 "+root)) {
		t.Errorf("cmdline.txt is %q, %v", line, err)
	}
	// The boot ROM looks for a FAT partition in the first slot of the MBR.
	mbr := make([]byte, 512)
	if _, err := f.ReadAt(mbr, 0); err != nil || !slices.Contains([]byte{0x0C, 0x0E}, mbr[446+4]) {
		t.Errorf("the first partition of the MBR is of the type %#x, %v", mbr[446+4], err)
	}
	s.Pieces = handmade(t, "x86_64")
	s.BoardDisk = filepath.Join(out, "other.img")
	if _, err := Assemble(t.Context(), s); err == nil || !strings.Contains(err.Error(), "for arm64") {
		t.Errorf("of another arch: %v", err)
	}
}

func TestBoardThatThereIsNot(t *testing.T) {
	for _, args := range [][]string{{"--board", "rpi9", "--arch", "arm64"}, {"--board", "rpi", "--arch", "x86_64"}} {
		if _, stderr, code := runImages(append([]string{"build", "-o", t.TempDir()}, args...)...); code != 2 || !strings.Contains(stderr, "--board") {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
	}
}
