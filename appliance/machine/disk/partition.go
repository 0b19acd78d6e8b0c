// Package disk knows the disk that a node starts from: which partitions it has,
// and where the running kernel sees them. The formats have packages of their own
// below it.
package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Partition is a partition of a disk, as sysfs knows it.
type Partition struct {
	Name   string // "sda2"
	Disk   string // "sda"
	Number int
	UUID   string // the PARTUUID, where the kernel knows it
	Label  string // its name in the partition table, where the kernel knows it
	Place  string // where its disk is connected: the same at each start, and no two disks have the same
}

// Device is the partition's block device.
func (p Partition) Device() string { return "/dev/" + p.Name }

// Extent is where a partition lies on its disk, in bytes.
type Extent struct{ Start, Size int64 }

// Extent is where the running kernel takes the partition to lie.
func (p Partition) Extent() (e Extent, err error) {
	for file, to := range map[string]*int64{"start": &e.Start, "size": &e.Size} {
		path := filepath.Join(class, p.Name, file)
		text, err := os.ReadFile(path)
		if err != nil {
			return Extent{}, fmt.Errorf("measuring the partition %s: %w", p.Name, err)
		}
		sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || sectors < 0 || sectors >= 1<<40 {
			return Extent{}, fmt.Errorf("%s says %.32q", path, text)
		}
		*to = sectors << 9 // sysfs counts 512 bytes, whatever a disk's sectors are
	}
	return e, nil
}

// Sibling is another partition of the same disk.
func (p Partition) Sibling(number int) (Partition, error) {
	s, err := find(func(s Partition) bool { return s.Disk == p.Disk && s.Number == number })
	if errors.Is(err, ErrNoDisk) {
		err = fmt.Errorf("the disk %s has no partition %d", p.Disk, number)
	}
	return s, err
}

// ErrNoDisk says that there is no such disk, or none at all.
var ErrNoDisk = errors.New("no such disk")

// RootPartition is the partition that the root file system is on. On a machine
// that came up from RAM the error is ErrNoDisk.
func RootPartition() (Partition, error) {
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		return Partition{}, fmt.Errorf("looking for the root disk: %w", err)
	}
	sys, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return Partition{}, ErrNoDisk
	}
	return find(func(p Partition) bool { return p.Name == filepath.Base(sys) })
}

// FindPartitions finds partitions by the words of the kernel's root=:
// "PARTUUID=…" or "/dev/NAME". Of a disk and its copies there are several.
func FindPartitions(root string) ([]Partition, error) {
	return findAll(func(p Partition) bool {
		if uuid, ok := strings.CutPrefix(root, "PARTUUID="); ok {
			return p.UUID != "" && strings.EqualFold(p.UUID, uuid)
		}
		return p.Name == strings.TrimPrefix(root, "/dev/")
	})
}

// Copies are the partitions of other disks that have the same identifier: those
// disks were copied from this one, or this one from them.
func (p Partition) Copies() ([]Partition, error) {
	if p.UUID == "" {
		return nil, nil
	}
	return findAll(func(c Partition) bool { return c.UUID == p.UUID && c.Disk != p.Disk })
}

func find(is func(Partition) bool) (Partition, error) {
	found, err := findAll(is)
	if err != nil {
		return Partition{}, err
	}
	if len(found) == 0 {
		return Partition{}, ErrNoDisk
	}
	return found[0], nil
}

// findAll finds partitions, in the order of their names.
func findAll(is func(Partition) bool) ([]Partition, error) {
	all, err := partitions()
	return slices.DeleteFunc(all, func(p Partition) bool { return !is(p) }), err
}

const class = "/sys/class/block"

func partitions() ([]Partition, error) {
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil, fmt.Errorf("looking at disks: %w", err)
	}
	var all []Partition
	for _, e := range entries {
		uevent, err := os.ReadFile(filepath.Join(class, e.Name(), "uevent"))
		if err != nil {
			continue // unplugged while we looked
		}
		target, err := os.Readlink(filepath.Join(class, e.Name()))
		if err != nil {
			continue
		}
		if p, ok := parsePartition(e.Name(), target, string(uevent)); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// parsePartition reads what sysfs says about a block device; ok is false for
// one that is no partition. A partition's folder lies in its disk's.
func parsePartition(name, link, uevent string) (p Partition, ok bool) {
	p = Partition{Name: name, Disk: filepath.Base(filepath.Dir(link))}
	for line := range strings.Lines(uevent) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "PARTN":
			n, err := strconv.Atoi(value)
			p.Number, ok = n, err == nil && n > 0
		case "PARTUUID":
			p.UUID = value
		case "PARTNAME":
			p.Label = value
		}
	}
	if ok {
		p.Place = place(filepath.Dir(link))
	}
	return p, ok
}
