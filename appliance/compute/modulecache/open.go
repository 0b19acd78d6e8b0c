package scheduler

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/sandbox"
)

// Kept says where a pool keeps compiled modules.
type Kept struct {
	// Keys is a folder that only the owner of the pool can write: it holds the
	// key by which the pool knows its own files. "" keeps nothing on disk.
	Keys string
	// Cache is the folder of the files; "" is Keys/modules.
	Cache string
}

// How much compiled code is kept, in bytes. A module of Go is 2.6 MB, and its
// code about four times that.
const (
	cacheOnDisk   = 256 << 20
	cacheInMemory = 64 << 20
)

// OpenPool makes the pool of a daemon, which is to be warmed: a spare process a
// core and one more, as many kept for requesters who come back, and the cache.
func OpenPool(k Kept) (*Pool, error) {
	cache, err := OpenCache(k)
	if err != nil {
		return nil, err
	}
	groups, err := sandbox.OpenCgroups()
	if err != nil {
		cache.Close()
		return nil, err
	}
	cores := runtime.NumCPU()
	p, err := NewPool(PoolConfig{Spare: min(1+cores, 8), Idle: min(1+cores, 16), Cache: cache, Groups: groups})
	if err != nil {
		return nil, err
	}
	p.owned = cache
	return p, nil
}

// OpenCache opens the cache of compiled modules. Where there is a folder that
// cannot be used it is an error, not a slower cache.
func OpenCache(k Kept) (*modulecache.Cache, error) {
	c := modulecache.Config{DiskBytes: cacheOnDisk, MemoryBytes: cacheInMemory}
	if k.Keys != "" {
		var err error
		if c.Key, err = modulecache.LoadKey(k.Keys); err != nil {
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
	}
	return modulecache.Open(c)
}
