package support

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"phase/appliance/base/statefile"
)

// Space is how full the file system of a folder is.
type Space struct {
	Folder string `json:"folder"`
	Bytes  uint64 `json:"bytes"`
	Free   uint64 `json:"free"` // for who is not root
	Error  string `json:"error,omitempty"`
}

// Disk is a disk of the machine, as the kernel sees it.
type Disk struct {
	Name  string `json:"name"`
	Bytes uint64 `json:"bytes"`
	Model string `json:"model"`
}

// Disks are the disks of a machine, and how full some of its folders are.
type Disks struct {
	Folders []Space `json:"folders"`
	Disks   []Disk  `json:"disks"`
}

const (
	sysBlock   = "/sys/block"
	sectorSize = 512 // what /sys counts in, whatever the disk has
	maxValue   = 4 << 10
	maxDisks   = 64
)

// ReadDisks asks the kernel. It reads no disk.
func ReadDisks(folders ...string) Disks {
	d := Disks{Folders: []Space{}, Disks: []Disk{}}
	slices.Sort(folders)
	for _, folder := range slices.Compact(folders) {
		if folder == "" {
			continue
		}
		s := Space{Folder: folder}
		var fs syscall.Statfs_t
		if err := syscall.Statfs(folder, &fs); err != nil {
			s.Error = err.Error()
		} else {
			s.Bytes, s.Free = fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
		}
		d.Folders = append(d.Folders, s)
	}
	entries, _ := os.ReadDir(sysBlock) // without it, there are no disks to tell of
	for _, e := range entries[:min(len(entries), maxDisks)] {
		sectors, err := strconv.ParseUint(value(e.Name(), "size"), 10, 54)
		if err != nil || sectors == 0 {
			continue // a loop device that holds nothing
		}
		d.Disks = append(d.Disks, Disk{e.Name(), sectors * sectorSize, value(e.Name(), "device/model")})
	}
	return d
}

// value is what the kernel says of a disk; "" where it says nothing.
func value(disk, of string) string {
	data, err := statefile.ReadCapped(filepath.Join(sysBlock, disk, of), maxValue)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
