package kexec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/trust"

	"golang.org/x/sys/unix"
)

// What is in the folder on disk.
const (
	initrdFile = "initrd.part"
	keptFile   = "staging.json"
)

// kept says whose bytes are in the folder, and how many of each artifact. They
// are a hint: every byte is hashed before it is loaded.
type kept struct {
	Digest names.Digest     `json:"digest"`
	Have   map[string]int64 `json:"have"`
}

// openDisk opens the initrd in the making in dir. What belongs to another
// release is deleted.
func openDisk(dir string, v trust.Verified, size int64) (*os.File, map[string]int64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, initrdFile)
	var k kept
	err := statefile.Read(dir, keptFile, &k)
	if err != nil || k.Digest != v.Digest() || k.Have == nil {
		// Nothing, nothing readable or something else: all the same, begin anew.
		k = kept{Have: map[string]int64{}}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, err
	}
	// Claimed now, where the file system can: a disk that fills up later must
	// not break a write.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	if err := f.Truncate(size); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, k.Have, nil
}

// keepDisk notes what is worth keeping, after the bytes themselves are safe.
func keepDisk(dir string, f *os.File, v trust.Verified, have map[string]int64) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return statefile.Write(dir, keptFile, kept{v.Digest(), have})
}

// clearDisk empties the folder. Nothing that was loaded needs it.
func clearDisk(dir string) error {
	var errs []error
	for _, name := range []string{keptFile, initrdFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// roomIn is how many bytes fit into dir, counting what is there already and
// would be replaced; 0 where nothing can be kept.
func roomIn(dir string) int64 {
	if dir == "" {
		return 0
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(dir), &st); err != nil || st.Flags&unix.ST_RDONLY != 0 {
		return 0
	}
	room := int64(st.Bavail) * st.Bsize
	var old unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, initrdFile), &old); err == nil {
		room += old.Blocks * 512
	}
	return room
}

// dropCache asks the kernel to give back the cached pages of a file that is on
// disk. It may decline; the figures are checked afterwards.
func dropCache(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
