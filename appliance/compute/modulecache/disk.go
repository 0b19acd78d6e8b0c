package modulecache

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/compute/sandbox"
)

// A file is magic, the authentication code, the sizes of module and code in
// bytes (big-endian, 8 bytes each), module and code. The authentication code is
// the HMAC-SHA256 of magic, the file's key and all that stands behind the code.
const (
	magic     = "phase compiled 2"
	sizesAt   = len(magic) + sha256.Size
	headBytes = sizesAt + 16
	temporary = "." // statefile's files begin so until they are whole
)

func (c *Cache) path(k key) string { return filepath.Join(c.config.Dir, hex.EncodeToString(k[:])) }

func (c *Cache) authenticate(k key, sizes []byte) hash.Hash {
	mac := hmac.New(sha256.New, c.secret[:])
	mac.Write([]byte(magic))
	mac.Write(k[:])
	mac.Write(sizes)
	return mac
}

// read copies a file into memory while it computes its authentication code, so
// that what was checked is what is used.
func (c *Cache) read(k key) (_ Compiled, err error) {
	f, err := os.OpenFile(c.path(k), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Compiled{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Compiled{}, err
	}
	var head [headBytes]byte
	if _, err := io.ReadFull(f, head[:]); err != nil || !info.Mode().IsRegular() {
		return Compiled{}, errors.Join(errForeign, err)
	}
	sizes := head[sizesAt:]
	module, code := binary.BigEndian.Uint64(sizes), binary.BigEndian.Uint64(sizes[8:])
	most := uint64(c.config.DiskBytes)
	if module > most || code > most || module+code > most || uint64(info.Size()) != uint64(headBytes)+module+code {
		return Compiled{}, errForeign
	}
	mac := c.authenticate(k, sizes)
	content := io.TeeReader(f, mac) // one that is cut short has another code
	var read Compiled
	if read.Module, err = sandbox.Seal("module", io.LimitReader(content, int64(module))); err != nil {
		return Compiled{}, err
	}
	if read.Code, err = sandbox.Seal("compiled", io.LimitReader(content, int64(code))); err != nil {
		read.Module.Close()
		return Compiled{}, err
	}
	if string(head[:len(magic)]) != magic || !hmac.Equal(head[len(magic):sizesAt], mac.Sum(nil)) {
		read.close()
		return Compiled{}, errForeign
	}
	now := time.Now()
	_ = os.Chtimes(c.path(k), now, now) // only what is removed first depends on it
	return read, nil
}

var errForeign = errors.New("it was not written by this node")

func (c *Cache) write(k key, made Compiled) error {
	f, err := statefile.Create(c.path(k), 0o600)
	if err != nil {
		return err
	}
	defer f.Discard()
	err = made.Module.Map(func(module []byte) error {
		return made.Code.Map(func(code []byte) error {
			sizes := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(len(module))), uint64(len(code)))
			mac := c.authenticate(k, sizes)
			mac.Write(module)
			mac.Write(code)
			for _, part := range [][]byte{[]byte(magic), mac.Sum(nil), sizes, module, code} {
				if _, err := f.Write(part); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
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
