package statefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// A Pending file is written beside the file it will replace. Until Commit a
// reader sees the old file, and a power cut leaves the old file.
type Pending struct {
	*os.File // the temporary file, readable and writable

	path    string
	pending *renameio.PendingFile
}

// Create begins a new file at path with the mode perm, whatever the umask. The
// caller calls Commit, or Discard when something went wrong; Discard after
// Commit does nothing, so it can be deferred.
func Create(path string, perm fs.FileMode) (*Pending, error) {
	// The folder itself holds the temporary file: a rename must not cross
	// file systems.
	p, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(perm), renameio.IgnoreUmask())
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	return &Pending{File: p.File, path: path, pending: p}, nil
}

// Commit puts the file in its place and returns once both, the bytes and the
// name, are on the disk.
func (p *Pending) Commit() error {
	if err := p.replace(); err != nil {
		return fmt.Errorf("writing %s: %w", p.path, err)
	}
	return SyncFolder(filepath.Dir(p.path))
}

// CommitNew is Commit for a file that must not be there yet: the error is
// fs.ErrExist when it is, and then that file stays as it was.
func (p *Pending) CommitNew() error {
	defer p.Discard()
	err := errors.Join(Sync(p.File), p.Close())
	if err == nil {
		err = os.Link(p.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", p.path, err)
	}
	return SyncFolder(filepath.Dir(p.path))
}

// Discard removes the temporary file.
func (p *Pending) Discard() { _ = p.pending.Cleanup() }

// Replace writes data to path atomically and durably, with the mode perm.
func Replace(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, (*Pending).Commit)
}

// WriteNew writes data to path as Replace does, and never over a file: the
// error is fs.ErrExist when there is one.
func WriteNew(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, (*Pending).CommitNew)
}

func write(path string, data []byte, perm fs.FileMode, commit func(*Pending) error) error {
	p, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer p.Discard()
	if _, err := p.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return commit(p)
}

// SyncFolder makes what was named, renamed or deleted in a folder survive a power
// cut: a file's own sync does not.
func SyncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := Sync(dir); err != nil {
		return fmt.Errorf("writing the folder %s: %w", path, err)
	}
	return nil
}

// ReadCapped reads a file, limit+1 bytes of it at most: the parser of the
// format, which knows the limit, refuses what is longer.
func ReadCapped(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readCapped(f, path, limit)
}

func readCapped(f *os.File, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}
