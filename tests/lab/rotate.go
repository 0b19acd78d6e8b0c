package lab

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"

	"phase/appliance/base/keyfile"
	"phase/appliance/release/trust"
)

// Rotate is a lab with the same pieces, whose root follows that of l: it takes
// the release key of l back and names another. The nodes of l come to it when a
// provider hands that root on.
func (l *Lab) Rotate() (*Lab, error) {
	rootKey, err := keyfile.Read(filepath.Join(l.Build, "keys", "root.pem"))
	if err != nil {
		return nil, fmt.Errorf("rotating the root: %w", err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	spec := l.Root.Spec()
	spec.Version++
	spec.Roles[trust.RoleRelease] = trust.RoleSpec{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
	data, err := trust.SignRoot(spec, rootKey)
	if err != nil {
		return nil, err
	}
	other := *l
	if other.Roots, err = l.Roots.Append(data); err != nil {
		return nil, err
	}
	other.Key, other.Root = key, other.Roots.Last()
	return &other, nil
}
