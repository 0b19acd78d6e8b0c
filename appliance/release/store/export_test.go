package store

import "phase/appliance/base/names"

// LookedAt says that the file of a blob was looked at as it is now.
func (s *Store) LookedAt(d names.Digest) bool {
	b := s.blobs[d]
	now, err := look(b.file)
	last := b.looked.Load()
	return err == nil && last != nil && last.Ctim == now.Ctim && !b.looking.Load()
}

// Unchanged is Intact without a look in the background.
func (b *Blob) Unchanged() bool { return b.unchanged() }
