package flash

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"phase/appliance/base/ui"
)

// Candidate is a whole disk, as a person recognises it, and what would be lost on
// it.
type Candidate struct {
	Device    string    `json:"device"`
	Size      int64     `json:"bytes"`
	Sector    int64     `json:"sector"` // bytes
	Model     string    `json:"model"`  // with the vendor
	Bus       string    `json:"bus"`    // usb, nvme, sata, mmc, virtio, loop, or empty
	Removable bool      `json:"removable"`
	Partition bool      `json:"partition"` // it is none, but a part of one
	Holds     []Content `json:"holds"`
	Uses      []Use     `json:"uses"`
	Refused   string    `json:"refused"` // why it is not written to at all; empty: it may be
}

// Content is a partition, or the whole disk where it has none.
type Content struct {
	Device     string `json:"device"`
	Size       int64  `json:"bytes"`
	FileSystem string `json:"file_system"` // empty: none that is known, or it cannot be read
}

// Candidates lists the disks of this machine that can be written to, the
// removable ones first.
func Candidates() ([]Candidate, error) {
	u, err := findUses()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil, fmt.Errorf("looking at disks: %w", err)
	}
	found := []Candidate{}
	for _, e := range entries {
		slaves, _ := os.ReadDir(filepath.Join(class, e.Name(), "slaves"))
		built := len(slaves) > 0 || strings.HasPrefix(e.Name(), "ram") || strings.HasPrefix(e.Name(), "zram")
		c, err := look("/dev/"+e.Name(), e.Name(), u)
		if err == nil && !built && !c.Partition && c.Size > 0 && word(filepath.Join(class, e.Name(), "ro")) == "0" {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Device, b.Device))
	})
	return found, nil
}

func rank(c Candidate) int {
	switch {
	case c.Refused != "":
		return 2
	case !c.Removable:
		return 1
	}
	return 0
}

// Look says what one block device is.
func Look(path string) (Candidate, error) {
	u, err := findUses()
	if err != nil {
		return Candidate{}, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Candidate{}, err
	}
	return look(path, filepath.Base(real), u)
}

func look(path, name string, u uses) (c Candidate, err error) {
	sys := filepath.Join(class, name)
	place, err := filepath.EvalSymlinks(sys)
	if err != nil {
		return c, fmt.Errorf("asking the kernel about %s: %w", path, err)
	}
	c = Candidate{Device: path, Size: bytesOf(name), Bus: bus(place), Holds: []Content{}, Uses: u.find(name)}
	c.Sector, _ = strconv.ParseInt(word(filepath.Join(sys, "queue/logical_block_size")), 10, 64)
	_, err = os.Stat(filepath.Join(sys, "partition"))
	c.Partition = err == nil
	// A USB hard disk says it is not removable, and so does a card in a slot of its
	// own; their bus says that they are.
	c.Removable = word(filepath.Join(sys, "removable")) == "1" || c.Bus == "usb" || c.Bus == "mmc" && word(filepath.Join(sys, "device/type")) == "SD"
	var about []string
	for _, file := range []string{"device/vendor", "device/model", "device/name", "loop/backing_file"} {
		if text := ui.Clean(word(filepath.Join(sys, file))); text != "" && !strings.HasPrefix(text, "0x") {
			about = append(about, text)
		}
	}
	c.Model = strings.Join(about, " ")
	for _, part := range partitionsOf(name) {
		c.Holds = append(c.Holds, Content{"/dev/" + part, bytesOf(part), fileSystem("/dev/" + part)})
	}
	if is := fileSystem(path); len(c.Holds) == 0 && is != "" {
		c.Holds = append(c.Holds, Content{path, c.Size, is})
	}
	if err := refuse(path, c.Uses); err != nil {
		c.Refused = err.Error()
	}
	return c, nil
}

// bytesOf is the size of a device; sysfs counts 512 bytes, whatever its sectors are.
func bytesOf(name string) int64 {
	n, err := strconv.ParseInt(word(filepath.Join(class, name, "size")), 10, 54)
	if err != nil {
		return 0
	}
	return n << 9
}

// bus is how a disk is connected, by its folder in sysfs.
func bus(place string) string {
	for _, b := range []struct{ part, name string }{
		{"/usb", "usb"}, {"/nvme", "nvme"}, {"/ata", "sata"}, {"/mmc_host/", "mmc"}, {"/virtio", "virtio"}, {"/virtual/block/loop", "loop"},
	} {
		if strings.Contains(place, b.part) {
			return b.name
		}
	}
	return ""
}

// signatures tell what lies on a device.
var signatures = []struct {
	at         int64
	text, name string
}{
	{1080, "\x53\xEF", "ext4"}, {0, "XFSB", "xfs"}, {0x10040, "_BHRfS_M", "btrfs"}, {0, "hsqs", "squashfs"},
	{3, "NTFS    ", "NTFS"}, {3, "EXFAT   ", "exFAT"}, {82, "FAT32", "FAT"}, {54, "FAT", "FAT"}, {0x8001, "CD001", "ISO 9660"},
	{4086, "SWAPSPACE2", "swap"}, {0, "LUKS\xBA\xBE", "encrypted (LUKS)"}, {3, "-FVE-FS-", "encrypted (BitLocker)"},
	{536, "LVM2 001", "LVM"}, {4096, "\xFC\x4E\x2B\xA9", "RAID"}, {512, "EFI PART", "a partition table"}, {4096, "EFI PART", "a partition table"},
	{510, "\x55\xAA", "a partition table"},
}

// fileSystem names what is on a device.
func fileSystem(device string) string {
	f, err := os.Open(device)
	if err != nil {
		return ""
	}
	defer f.Close()
	for _, s := range signatures {
		is := make([]byte, len(s.text))
		if _, err := io.ReadFull(io.NewSectionReader(f, s.at, int64(len(is))), is); err == nil && string(is) == s.text {
			return s.name
		}
	}
	return ""
}
