package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
)

// Pin is the release that the owner of a node keeps it on: nothing else is
// started or taken while there is one.
type Pin struct {
	Release names.Digest `json:"release"`
	// Next is a release that the owner has asked for meanwhile: it may be started
	// too, and is what the node is kept on once it is good. Zero for none.
	Next    names.Digest `json:"next,omitzero"`
	Version uint64       `json:"version"`
	By      string       `json:"by"` // a peer id, or "here"
	At      time.Time    `json:"at"`
}

// Pin returns the pin; its Release is zero when there is none, or none that can
// be read.
func (s *Store) Pin() Pin {
	var p Pin
	if err := statefile.Read(s.path, layout.PinFile, &p); err != nil {
		return Pin{}
	}
	return p
}

// SetPin keeps the node on a release, or with the zero Pin lets it go on.
func (s *Store) SetPin(p Pin) error {
	if !p.Release.IsZero() {
		return statefile.Write(s.path, layout.PinFile, p)
	}
	if err := os.Remove(s.join(layout.PinFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("letting updates go on: %w", err)
	}
	return statefile.SyncFolder(s.path)
}
