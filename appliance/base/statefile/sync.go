//go:build !nosync

package statefile

import "os"

// Sync returns once the bytes of a file, or the names in a folder, are on the
// disk. What keeps files by itself calls it, so that one build tag takes it away
// from all: see nosync.go.
func Sync(f *os.File) error { return f.Sync() }

// replace puts the file in its place, after its bytes are on the disk.
func (p *Pending) replace() error { return p.pending.CloseAtomicallyReplace() }
