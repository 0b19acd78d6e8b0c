package modulecache

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Kept says where compiled modules are kept.
type Kept struct {
	// Keys is a folder that only the owner of the cache can write: it holds the
	// key by which the cache knows its own files. "" keeps nothing on disk.
	Keys string
	// Cache is the folder of the files; "" is Keys/modules.
	Cache string
}

// How much is kept, in bytes. A module of Go is 2.6 MB, and its code about four
// times that.
const (
	onDisk   = 256 << 20
	inMemory = 64 << 20
)

// OpenKept opens a cache of the usual size. Where a folder is named that cannot
// be used it is an error, not a slower cache.
func OpenKept(k Kept) (*Cache, error) {
	c := Config{DiskBytes: onDisk, MemoryBytes: inMemory}
	if k.Keys == "" {
		return Open(c)
	}
	var err error
	if c.Key, err = loadKey(k.Keys); err != nil {
		return nil, err
	}
	if c.Dir = k.Cache; c.Dir == "" {
		c.Dir = filepath.Join(k.Keys, "modules")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping compiled modules: %w", err)
	}
	// A small disk has more to keep than this.
	var disk syscall.Statfs_t
	if err := syscall.Statfs(c.Dir, &disk); err != nil {
		return nil, fmt.Errorf("measuring the disk for compiled modules: %w", err)
	}
	c.DiskBytes = min(c.DiskBytes, int64(disk.Blocks)*int64(disk.Bsize)/4)
	return Open(c)
}
