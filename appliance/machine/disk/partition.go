// Package disk knows the disk that a node starts from: which partitions it has,
// where the running kernel sees them, and how the file system on the last of
// them grows. The formats have packages of their own below it.
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
}

// Device is the partition's block device.
func (p Partition) Device() string { return "/dev/" + p.Name }

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

// FindPartition finds a partition by the words of the kernel's root=:
// "PARTUUID=…" or "/dev/NAME".
func FindPartition(root string) (Partition, error) {
	return find(func(p Partition) bool {
		if uuid, ok := strings.CutPrefix(root, "PARTUUID="); ok {
			return p.UUID != "" && strings.EqualFold(p.UUID, uuid)
		}
		return p.Name == strings.TrimPrefix(root, "/dev/")
	})
}

func find(is func(Partition) bool) (Partition, error) {
	all, err := partitions()
	if err != nil {
		return Partition{}, err
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	return Partition{}, ErrNoDisk
}

func partitions() ([]Partition, error) {
	const class = "/sys/class/block"
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
		}
	}
	return p, ok
}
