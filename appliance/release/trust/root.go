package trust

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/strictjson"
)

const (
	// RootType is the DSSE payload type of a root.
	RootType = "application/vnd.phase.root.v1+json"
	// RoleRoot may sign roots, RoleRelease releases of every channel that has
	// no role of its own, "release/" and the channel.
	RoleRoot    = "root"
	RoleRelease = "release"
	// MaxKeys is how many keys a root may name; a signature costs up to one
	// verification a key.
	MaxKeys  = 32
	maxRoles = 32
)

// Root says whose signatures count. Only ParseRoot makes one; under the zero
// Root nothing verifies. The root given is the root used: none is ever taken
// from the network.
type Root struct {
	version uint64
	expires time.Time
	keys    map[string]ed25519.PublicKey
	roles   map[string]role
	digest  names.Digest
	raw     []byte
}

type wireRoot struct {
	Version uint64          `json:"version"`
	Expires *time.Time      `json:"expires"`
	Keys    []wireKey       `json:"keys"`
	Roles   map[string]role `json:"roles"`
}

type wireKey struct {
	KeyID     string `json:"keyid"`
	PublicKey string `json:"public_key"`
}

type role struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

// ParseRoot reads a root envelope that the threshold of its own role root has
// signed. That shows it is whole, not that it is ours: the caller must have it
// from a place it trusts. Its expiry is judged by Verify. Errors are *Refusal.
func ParseRoot(data []byte) (Root, error) {
	env, refused := open(data, RootType)
	if refused != nil {
		return Root{}, refused
	}
	root, err := readRoot(env)
	if err != nil {
		return Root{}, err
	}
	if refused := root.satisfied(RoleRoot, env.SignedBy(root.keys)); refused != nil {
		return Root{}, refused
	}
	return root, nil
}

// readRoot reads what an envelope holds, whoever has signed it.
func readRoot(env envelope.Envelope) (Root, error) {
	root, err := parseRoot(env.Payload)
	if err != nil {
		return Root{}, refusal.New(refusal.Format, "reading the root: %v", err)
	}
	root.digest, root.raw = names.Sum(env.Payload), env.Raw()
	return root, nil
}

// Next reads the root that follows r: of the next version, signed by the
// thresholds of role root of r and of its own. Neither expiry is judged: only
// the last link of a chain must be good, and Verify sees to that. Errors are
// *Refusal; nothing follows the zero Root.
func (r Root) Next(data []byte) (Root, error) {
	next, err := ParseRoot(data)
	if err != nil {
		return Root{}, err
	}
	if next.version != r.version+1 {
		return Root{}, refusal.New(refusal.Format, "root version %d cannot follow version %d", next.version, r.version)
	}
	env, refused := open(data, RootType)
	if refused == nil {
		refused = r.satisfied(RoleRoot, env.SignedBy(r.keys))
	}
	if refused != nil {
		return Root{}, refusal.New(refused.Code, "root version %d by the keys of version %d: %s", next.version, r.version, refused.Detail)
	}
	return next, nil
}

func parseRoot(payload []byte) (Root, error) {
	var w wireRoot
	if err := strictjson.Unmarshal(payload, &w); err != nil {
		return Root{}, err
	}
	if w.Version < 1 { // the upper bound is strictjson's
		return Root{}, errors.New("version must be at least 1")
	}
	if w.Expires == nil {
		return Root{}, errors.New("expires must be there")
	}
	if len(w.Keys) > MaxKeys || len(w.Roles) > maxRoles {
		return Root{}, fmt.Errorf("at most %d keys and %d roles", MaxKeys, maxRoles)
	}
	root := Root{version: w.Version, expires: w.Expires.UTC(), keys: map[string]ed25519.PublicKey{}, roles: w.Roles}
	for _, k := range w.Keys {
		key, err := strictjson.Base64(k.PublicKey)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return Root{}, fmt.Errorf("key %.16q is not the base64 of %d bytes", k.KeyID, ed25519.PublicKeySize)
		}
		// The id is computed, never believed: otherwise one key under two ids
		// would count twice.
		if k.KeyID != envelope.KeyID(key) {
			return Root{}, fmt.Errorf("key %.16q has another id than its bytes give", k.KeyID)
		}
		if root.keys[k.KeyID] != nil {
			return Root{}, fmt.Errorf("key %.16q comes twice", k.KeyID)
		}
		root.keys[k.KeyID] = key
	}
	for _, name := range slices.Sorted(maps.Keys(w.Roles)) {
		if err := checkRole(w.Roles[name], root.keys); err != nil {
			return Root{}, fmt.Errorf("role %.32q: %w", name, err)
		}
	}
	for _, name := range []string{RoleRoot, RoleRelease} {
		if _, ok := root.roles[name]; !ok {
			return Root{}, fmt.Errorf("role %q must be there", name)
		}
	}
	return root, nil
}

func checkRole(r role, keys map[string]ed25519.PublicKey) error {
	seen := map[string]bool{}
	for _, id := range r.KeyIDs {
		if keys[id] == nil {
			return fmt.Errorf("key %.16q is not among the keys", id)
		}
		if seen[id] {
			return fmt.Errorf("key %.16q comes twice", id)
		}
		seen[id] = true
	}
	if r.Threshold < 1 || r.Threshold > len(r.KeyIDs) {
		return fmt.Errorf("threshold %d is not 1 to its %d keys", r.Threshold, len(r.KeyIDs))
	}
	return nil
}

// open reads an envelope of the given type, with the codes of its refusals.
func open(data []byte, payloadType string) (envelope.Envelope, *refusal.Refusal) {
	env, err := envelope.Parse(data)
	switch {
	case errors.Is(err, strictjson.ErrSize):
		return env, refusal.New(refusal.Size, "%v", err)
	case err != nil:
		return env, refusal.New(refusal.Format, "%v", err)
	case env.PayloadType != payloadType:
		return env, refusal.New(refusal.Format, "the envelope holds %.80q, not %q", env.PayloadType, payloadType)
	}
	return env, nil
}

// satisfied asks whether those who signed are enough for a role.
func (r Root) satisfied(name string, signers []string) *refusal.Refusal {
	role := r.roles[name]
	n := 0
	for _, id := range role.KeyIDs {
		if slices.Contains(signers, id) {
			n++
		}
	}
	switch {
	case n == 0:
		return refusal.New(refusal.Signature, "no key of role %q has signed", name)
	case role.Threshold < 1 || n < role.Threshold:
		return refusal.New(refusal.Threshold, "%d of role %q have signed, %d must", n, name, role.Threshold)
	}
	return nil
}

// releaseRole is the role whose word counts for a channel.
func (r Root) releaseRole(channel string) string {
	if _, ok := r.roles[RoleRelease+"/"+channel]; ok {
		return RoleRelease + "/" + channel
	}
	return RoleRelease
}

// Digest is the SHA-256 of the payload: two documents with the same digest say
// the same, whoever has signed them besides.
func (r Root) Digest() names.Digest { return r.digest }

// Version of the root, from 1.
func (r Root) Version() uint64 { return r.version }

// Expires is when the root stops being good for accepting anything new, UTC.
func (r Root) Expires() time.Time { return r.expires }

// Raw returns a copy of the envelope that ParseRoot read.
func (r Root) Raw() []byte { return bytes.Clone(r.raw) }

// Role returns the key ids of a role and how many of them must sign; nil and 0
// when the root has no such role.
func (r Root) Role(name string) (keyIDs []string, threshold int) {
	return slices.Clone(r.roles[name].KeyIDs), r.roles[name].Threshold
}
