package disk

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"phase/appliance/machine/disk/gpt"
)

// Measure asks a whole disk for its size and that of its sectors, by which its
// partition table is counted. A file that plays a disk has sectors of 512 bytes,
// as the programs take it that read such files.
func Measure(f *os.File) (gpt.Geometry, error) {
	device, err := IsDevice(f)
	if err != nil {
		return gpt.Geometry{}, err
	}
	sector := gpt.Sector512
	if device {
		if sector, err = unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err != nil {
			return gpt.Geometry{}, fmt.Errorf("BLKSSZGET: %w", err)
		}
	}
	// Seeking to the end tells the size of files and of block devices alike.
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return gpt.Geometry{}, err
	}
	return gpt.NewGeometry(int64(sector), size)
}

// IsDevice says whether a file is a block device.
func IsDevice(f *os.File) (bool, error) {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0, err
}
