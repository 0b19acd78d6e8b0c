package statefile

import (
	"fmt"
	"os"
	"syscall"
)

// ReadCappedIn is ReadCapped for a regular file below dir, which no link and no
// ".." leads out of: others may have put anything there.
func ReadCappedIn(dir *os.Root, name string, limit int64) ([]byte, error) {
	// Without waiting: a FIFO would wait for its writer.
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, err
	}
	return readCapped(f, name, limit)
}
