package trust

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/strictjson"
)

// RootSpec is what a root says.
type RootSpec struct {
	Version uint64
	Expires time.Time
	// Roles by name: RoleRoot, RoleRelease, and "release/" with a channel.
	Roles map[string]RoleSpec
}

// RoleSpec is a role of a root: so many of these keys must sign.
type RoleSpec struct {
	Keys      []ed25519.PublicKey
	Threshold int
}

// Spec is what r says, from which the next version can be made.
func (r Root) Spec() RootSpec {
	spec := RootSpec{Version: r.version, Expires: r.expires, Roles: map[string]RoleSpec{}}
	for name, role := range r.roles {
		s := RoleSpec{Threshold: role.Threshold}
		for _, id := range role.KeyIDs {
			s.Keys = append(s.Keys, slices.Clone(r.keys[id]))
		}
		spec.Roles[name] = s
	}
	return spec
}

// Keys are the public keys of all roles, by id.
func (s RootSpec) Keys() map[string]ed25519.PublicKey {
	keys := map[string]ed25519.PublicKey{}
	for _, role := range s.Roles {
		for _, key := range role.Keys {
			keys[envelope.KeyID(key)] = key
		}
	}
	return keys
}

// Payload is the root as the JSON that gets signed; the same spec gives the
// same bytes. It refuses what ParseRoot would refuse, and a root in which a key
// of role root may sign releases too: a stolen release key must never be able
// to change the root.
func (s RootSpec) Payload() ([]byte, error) {
	expires := s.Expires.UTC()
	w := wireRoot{Version: s.Version, Expires: &expires, Roles: map[string]role{}}
	offline := map[string]bool{}
	for _, key := range s.Roles[RoleRoot].Keys {
		offline[envelope.KeyID(key)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.Roles)) {
		r := role{Threshold: s.Roles[name].Threshold}
		for _, key := range s.Roles[name].Keys {
			id := envelope.KeyID(key)
			if offline[id] && strings.HasPrefix(name, RoleRelease) {
				return nil, fmt.Errorf("making a root: key %.16s is in role %q and in role %q; give each its own", id, RoleRoot, name)
			}
			r.KeyIDs = append(r.KeyIDs, id)
		}
		w.Roles[name] = r
	}
	keys := s.Keys()
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		w.Keys = append(w.Keys, wireKey{KeyID: id, PublicKey: base64.StdEncoding.EncodeToString(keys[id])})
	}
	payload, err := strictjson.Marshal(w)
	if err == nil {
		_, err = parseRoot(payload)
	}
	if err != nil {
		return nil, fmt.Errorf("making a root: %w", err)
	}
	return payload, nil
}

// SignRoot makes the envelope of a root, signed by the given keys, and refuses
// one that ParseRoot would refuse, as RootSpec.Payload does.
func SignRoot(spec RootSpec, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := spec.Payload()
	if err != nil {
		return nil, err
	}
	data, err := envelope.Sign(RootType, payload, keys...)
	if err != nil {
		return nil, fmt.Errorf("making a root: %w", err)
	}
	if _, err := ParseRoot(data); err != nil {
		return nil, fmt.Errorf("making a root: %w", err)
	}
	return data, nil
}

// Draft is a root that is being made, and that may not have enough signatures
// yet. What it says can be read, and what it would accept can be asked; no
// Verified comes of it.
type Draft struct {
	root Root
	env  envelope.Envelope
}

// ParseDraft reads a root with any number of signatures, none included. Errors
// are *Refusal.
func ParseDraft(data []byte) (Draft, error) {
	env, refused := open(data, RootType)
	if refused != nil {
		return Draft{}, refused
	}
	root, err := readRoot(env)
	return Draft{root, env}, err
}

// Spec is what the root says.
func (d Draft) Spec() RootSpec { return d.root.Spec() }

// Raw returns a copy of the envelope that ParseDraft read.
func (d Draft) Raw() []byte { return d.env.Raw() }

// Check answers as Root.Check of the finished root will.
func (d Draft) Check(data []byte, p Policy) []Check { return d.root.Check(data, p) }

// Need is a threshold of signatures that a root must carry.
type Need struct {
	// Version of the root whose role root must sign.
	Version   uint64
	Threshold int
	// Signed are the keys of that role that have signed, Others those that have
	// not.
	Signed, Others []string
}

// Missing is how many signatures are still missing.
func (n Need) Missing() int { return max(n.Threshold-len(n.Signed), 0) }

// Needs are the thresholds that the root must carry: that of the version
// before it, unless before is the zero Root, and its own. It has enough
// signatures when none of them is missing any.
func (d Draft) Needs(before Root) []Need {
	var needs []Need
	for _, by := range []Root{before, d.root} {
		if by.version == 0 {
			continue
		}
		ids, threshold := by.Role(RoleRoot)
		need := Need{Version: by.version, Threshold: threshold}
		signers := d.env.SignedBy(by.keys)
		for _, id := range ids {
			if slices.Contains(signers, id) {
				need.Signed = append(need.Signed, id)
			} else {
				need.Others = append(need.Others, id)
			}
		}
		needs = append(needs, need)
	}
	return needs
}
