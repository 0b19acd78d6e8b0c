package lab

import (
	"fmt"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/images"
)

// Seal signs any bytes as if they were a manifest, with the lab's release key:
// what those who hold it can do, by mistake or by force.
func (l *Lab) Seal(payload []byte) ([]byte, error) {
	return envelope.Sign(manifest.PayloadType, payload, l.Key)
}

// Signed is a release's manifest, changed and signed again. Its artifacts are
// those of r; nothing is laid out.
func (l *Lab) Signed(r Release, change func(*manifest.Manifest)) (Release, error) {
	m := r.Manifest
	change(&m)
	payload, err := m.Payload()
	if err != nil {
		return Release{}, fmt.Errorf("changing version %d: %w", r.Manifest.Version, err)
	}
	sealed, err := l.Seal(payload)
	if err != nil {
		return Release{}, err
	}
	return Release{Result: images.Result{Manifest: m, Envelope: sealed, Digest: names.Sum(payload), Folder: r.Folder}, Root: l.Root}, nil
}
