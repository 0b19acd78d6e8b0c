// Package modulecache keeps the code that modules were compiled to: in memory, in
// files that nobody can change, and, when there is a folder for it, on disk. A
// file on disk is believed only when it carries this owner's authentication
// code, which is checked over the very bytes that are then used: who can write
// the folder can make a module compile once more, and nothing else.
package modulecache

import (
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"phase/appliance/compute/sandbox"
)

// Digest is the SHA-256 of a module.
type Digest = [sha256.Size]byte

// Config says where code is kept and how much of it.
type Config struct {
	Dir         string   // on disk, made if it is not there; "" keeps code in memory alone
	Key         [32]byte // a secret of the owner's, kept where Dir's writers cannot put another
	DiskBytes   int64    // the most on disk
	MemoryBytes int64    // the most in memory; the newest stays in any case
}

// Cache is safe for concurrent use.
type Cache struct {
	config Config

	mu     sync.Mutex
	held   map[Digest]*list.Element // of *entry
	recent *list.List               // most recently used first
	bytes  int64

	disk    sync.Mutex // one writer
	writing sync.WaitGroup
}

type entry struct {
	digest Digest
	code   *sandbox.Sealed
	users  int  // who got it and has not put it back
	gone   bool // closed when the last of them does
}

// Open returns a cache, and clears what an interrupted one left in the folder.
func Open(c Config) (*Cache, error) {
	cache := &Cache{config: c, held: map[Digest]*list.Element{}, recent: list.New()}
	if c.Dir == "" {
		return cache, nil
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping compiled modules: %w", err)
	}
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

// Get returns the code of a module, or nil when it is not known. Call release
// when it is no longer needed.
func (c *Cache) Get(module Digest) (code *sandbox.Sealed, release func()) {
	if code, release := c.use(module); code != nil {
		return code, release
	}
	if c.config.Dir == "" {
		return nil, nil
	}
	read, err := c.read(module)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		slog.Warn("a compiled module on disk is not used, and removed", "module", hex.EncodeToString(module[:]), "error", err)
		_ = os.Remove(c.path(module)) // what stays is refused again
		return nil, nil
	}
	return c.hold(module, read)
}

// Put takes over the code of a module and returns it as Get would. It is
// written to disk behind the caller's back.
func (c *Cache) Put(module Digest, made *sandbox.Sealed) (code *sandbox.Sealed, release func()) {
	code, release = c.hold(module, made)
	if c.config.Dir == "" || made.Size() > c.config.DiskBytes {
		return code, release
	}
	// A use of its own, which keeps the code open until it is written.
	mine, done := c.use(module)
	if mine == nil {
		return code, release
	}
	c.writing.Go(func() {
		defer done()
		c.disk.Lock()
		defer c.disk.Unlock()
		if err := c.write(module, mine); err != nil {
			slog.Warn("a compiled module is not kept on disk", "error", err)
		}
	})
	return code, release
}

// Forget drops the code of a module, on disk too.
func (c *Cache) Forget(module Digest) {
	c.mu.Lock()
	if e := c.held[module]; e != nil {
		c.drop(e)
	}
	c.mu.Unlock()
	if c.config.Dir != "" {
		_ = os.Remove(c.path(module)) // not there is as good
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

func (c *Cache) use(module Digest) (*sandbox.Sealed, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.held[module]
	if at == nil {
		return nil, nil
	}
	c.recent.MoveToFront(at)
	return c.give(at.Value.(*entry))
}

// give hands an entry out, once. The caller holds the lock.
func (c *Cache) give(e *entry) (*sandbox.Sealed, func()) {
	e.users++
	return e.code, sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.users--; e.users == 0 && e.gone {
			e.code.Close()
		}
	})
}

// hold takes code over, unless there is some already, and makes room.
func (c *Cache) hold(module Digest, made *sandbox.Sealed) (*sandbox.Sealed, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.held[module]; at != nil {
		made.Close()
		return c.give(at.Value.(*entry))
	}
	e := &entry{digest: module, code: made}
	c.held[module] = c.recent.PushFront(e)
	c.bytes += made.Size()
	code, release := c.give(e)
	for c.bytes > c.config.MemoryBytes && c.recent.Len() > 1 {
		c.drop(c.recent.Back())
	}
	return code, release
}

// drop forgets an entry in memory. The caller holds the lock.
func (c *Cache) drop(at *list.Element) {
	e := c.recent.Remove(at).(*entry)
	delete(c.held, e.digest)
	c.bytes -= e.code.Size()
	if e.gone = true; e.users == 0 {
		e.code.Close()
	}
}

// A file is magic, the authentication code, and the compiled code. The
// authentication code is the HMAC-SHA256 of magic, the module's digest and the
// code's length and bytes.
const (
	magic     = "phase compiled 1"
	before    = len(magic) + sha256.Size
	temporary = ".new-"
)

func (c *Cache) path(module Digest) string {
	return filepath.Join(c.config.Dir, hex.EncodeToString(module[:]))
}

func (c *Cache) authenticate(module Digest, size int64) hash.Hash {
	mac := hmac.New(sha256.New, c.config.Key[:])
	mac.Write([]byte(magic))
	mac.Write(module[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
	return mac
}

// read copies a file into memory while it computes its authentication code, so
// that what was checked is what is used.
func (c *Cache) read(module Digest) (*sandbox.Sealed, error) {
	f, err := os.OpenFile(c.path(module), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size() - int64(before)
	if !info.Mode().IsRegular() || size < 0 || size > c.config.DiskBytes {
		return nil, errors.New("it is no file of this cache")
	}
	var head [before]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return nil, err
	}
	mac := c.authenticate(module, size)
	code, err := sandbox.Seal("compiled", func(w io.Writer) error {
		_, err := io.CopyN(io.MultiWriter(w, mac), f, size)
		return err
	})
	if err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic || !hmac.Equal(head[len(magic):], mac.Sum(nil)) {
		code.Close()
		return nil, errors.New("it was not written by this node")
	}
	now := time.Now()
	_ = os.Chtimes(c.path(module), now, now) // only what is removed first depends on it
	return code, nil
}

func (c *Cache) write(module Digest, code *sandbox.Sealed) error {
	f, err := os.CreateTemp(c.config.Dir, temporary) // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = code.Map(func(b []byte) error {
		mac := c.authenticate(module, int64(len(b)))
		mac.Write(b)
		for _, part := range [][]byte{[]byte(magic), mac.Sum(nil), b} {
			if _, err := f.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	// Not synced: a file that a power cut tears is not authentic.
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), c.path(module)); err != nil {
		return err
	}
	return c.prune()
}

// prune removes what was used longest ago until the rest fits.
func (c *Cache) prune() error {
	files, err := os.ReadDir(c.config.Dir)
	if err != nil {
		return err
	}
	var infos []fs.FileInfo
	var total int64
	for _, f := range files {
		info, err := f.Info()
		if err != nil || strings.HasPrefix(f.Name(), temporary) || f.IsDir() {
			continue // removed by another process, or being written
		}
		infos = append(infos, info)
		total += info.Size()
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range infos {
		if total <= c.config.DiskBytes {
			break
		}
		if err := os.Remove(filepath.Join(c.config.Dir, info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= info.Size()
	}
	return nil
}
