// Package modulecache checks modules and keeps them, compiled, by requester and
// digest: in memory, in files that cannot be changed, and, when there is a
// folder for it, on disk. What one requester sent is never compared with or
// given to another, so how fast an upload is answered tells nobody what others
// have sent. A file on disk is believed only when it carries this owner's
// authentication code, which is checked over the very bytes that are then used:
// a process that can write the folder can make a module compile once more, and
// nothing else.
package modulecache

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/compute/sandbox"
)

// Config says where modules are kept and how much of them.
type Config struct {
	// Keys is a folder that only the owner of the cache can write: it holds the
	// key by which the cache knows its own files. "" keeps modules in memory alone.
	Keys string
	// Dir is the folder of the files, made if it is not there; "" is Keys/modules.
	Dir string
	// The most on disk and in memory, where the newest stays in any case. 0 is
	// 256 MiB, or a quarter of a smaller disk, and 64 MiB: a module of Go is
	// 2.6 MB, and its code about four times that.
	DiskBytes, MemoryBytes int64
}

// Compiled is a module and the code it was compiled to.
type Compiled struct{ Module, Code *sandbox.Sealed }

func (c Compiled) size() int64 { return c.Module.Size() + c.Code.Size() }

func (c Compiled) close() {
	c.Module.Close()
	c.Code.Close()
}

// Cache is safe for concurrent use.
type Cache struct {
	config Config
	secret [32]byte // of the files

	mu        sync.Mutex
	held      map[key]*list.Element // of *entry
	recent    *list.List            // most recently used first
	bytes     int64
	compiling map[key]chan struct{} // closed at the end

	disk    sync.Mutex // one writer
	writing sync.WaitGroup
}

// key names one module of one requester, in memory and as a file.
type key [sha256.Size]byte

func keyOf(requester string, module names.Digest) (k key) {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(requester))))
	h.Write([]byte(requester))
	h.Write(module[:])
	h.Sum(k[:0])
	return k
}

type entry struct {
	key key
	Compiled
	users   int  // that have got it and not released it
	dropped bool // closed by the last of its users
}

// Open returns a cache, and clears what an interrupted one left in the folder.
// Where a folder is named that cannot be used it is an error, not a slower cache.
func Open(c Config) (*Cache, error) {
	c.MemoryBytes = cmp.Or(c.MemoryBytes, 64<<20)
	cache := &Cache{config: c, held: map[key]*list.Element{}, recent: list.New(), compiling: map[key]chan struct{}{}}
	if c.Keys == "" {
		return cache, nil
	}
	var err error
	if cache.secret, err = loadKey(c.Keys); err != nil {
		return nil, err
	}
	c.Dir = cmp.Or(c.Dir, filepath.Join(c.Keys, "modules"))
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping compiled modules: %w", err)
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(c.Dir, &disk); err != nil {
		return nil, fmt.Errorf("measuring the disk for compiled modules: %w", err)
	}
	c.DiskBytes = cmp.Or(c.DiskBytes, min(256<<20, int64(disk.Blocks)*int64(disk.Bsize)/4))
	cache.config = c
	left, err := filepath.Glob(filepath.Join(c.Dir, temporary+"*"))
	if err != nil {
		return nil, fmt.Errorf("keeping compiled modules: %w", err)
	}
	for _, name := range left {
		if info, err := os.Lstat(name); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(name) // another process may have been faster
		}
	}
	return cache, nil
}

// Use returns a requester's module, compiled; call release when it is no longer
// needed. Where it is not held, compile makes it, once for all that wait for it,
// and it is held from then on. Without release there is an error or, where
// compile returned neither, nothing.
func (c *Cache) Use(ctx context.Context, requester string, module names.Digest, compile func() (*Compiled, error)) (_ Compiled, release func(), err error) {
	k := keyOf(requester, module)
	for {
		if held, release := c.get(k); release != nil {
			return held, release, nil
		}
		c.mu.Lock()
		others := c.compiling[k]
		mine := make(chan struct{})
		if others == nil {
			c.compiling[k] = mine
		}
		c.mu.Unlock()
		if others == nil {
			defer func() {
				c.mu.Lock()
				delete(c.compiling, k)
				c.mu.Unlock()
				close(mine)
			}()
			made, err := compile()
			if made == nil {
				return Compiled{}, nil, err
			}
			held, release := c.put(k, *made)
			return held, release, nil
		}
		select {
		case <-others: // which may have failed for reasons of its own
		case <-ctx.Done():
			return Compiled{}, nil, ctx.Err()
		}
	}
}

// Held returns a module that this requester has sent before and that is still
// kept, so that it can be run by its digest alone; call release when it is no
// longer needed. Where it is not kept, both are nil.
func (c *Cache) Held(requester string, module names.Digest) (_ *Module, release func()) {
	held, release := c.get(keyOf(requester, module))
	if release == nil {
		return nil, nil
	}
	return heldModule(module, held.Module), release
}

// get returns what is held; release is nil when nothing is.
func (c *Cache) get(k key) (_ Compiled, release func()) {
	if held, release := c.use(k); release != nil {
		return held, release
	}
	if c.config.Keys == "" {
		return Compiled{}, nil
	}
	read, err := c.read(k)
	if errors.Is(err, fs.ErrNotExist) {
		return Compiled{}, nil
	}
	if err != nil {
		slog.Warn("a compiled module on disk is not used, and removed", "file", c.path(k), "error", err)
		_ = os.Remove(c.path(k)) // what stays is refused again
		return Compiled{}, nil
	}
	return c.hold(k, read)
}

// put takes over what was made and returns it as get would. It is written to
// disk in the background.
func (c *Cache) put(k key, made Compiled) (_ Compiled, release func()) {
	held, release := c.hold(k, made)
	if c.config.Keys == "" || held.size() > c.config.DiskBytes {
		return held, release
	}
	// A use of its own, which keeps it open until it is written.
	mine, done := c.use(k)
	if done == nil {
		return held, release
	}
	c.writing.Go(func() {
		defer done()
		c.disk.Lock()
		defer c.disk.Unlock()
		if err := c.write(k, mine); err != nil {
			slog.Warn("a compiled module is not kept on disk", "error", err)
		}
	})
	return held, release
}

// Forget drops a requester's module, on disk too.
func (c *Cache) Forget(requester string, module names.Digest) {
	k := keyOf(requester, module)
	c.mu.Lock()
	if at := c.held[k]; at != nil {
		c.drop(at)
	}
	c.mu.Unlock()
	if c.config.Keys != "" {
		_ = os.Remove(c.path(k)) // not there is as good
	}
}

// Close waits for what is being written and drops what is in memory.
func (c *Cache) Close() {
	c.writing.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back())
	}
}

func (c *Cache) use(k key) (Compiled, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.held[k]
	if at == nil {
		return Compiled{}, nil
	}
	c.recent.MoveToFront(at)
	return c.give(at.Value.(*entry))
}

// give hands an entry out, once. The caller holds the lock.
func (c *Cache) give(e *entry) (Compiled, func()) {
	e.users++
	return e.Compiled, sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.users--; e.users == 0 && e.dropped {
			e.close()
		}
	})
}

// hold takes a module over, unless it is held already, and makes room.
func (c *Cache) hold(k key, made Compiled) (Compiled, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.held[k]; at != nil {
		made.close()
		return c.give(at.Value.(*entry))
	}
	e := &entry{key: k, Compiled: made}
	c.held[k] = c.recent.PushFront(e)
	c.bytes += made.size()
	held, release := c.give(e)
	for c.bytes > c.config.MemoryBytes && c.recent.Len() > 1 {
		c.drop(c.recent.Back())
	}
	return held, release
}

// drop forgets an entry in memory. The caller holds the lock.
func (c *Cache) drop(at *list.Element) {
	e := c.recent.Remove(at).(*entry)
	delete(c.held, e.key)
	c.bytes -= e.size()
	if e.dropped = true; e.users == 0 {
		e.close()
	}
}
