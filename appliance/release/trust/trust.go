// Package trust decides whether a release may be used. It opens the envelope,
// asks the root whose signatures count and how many there must be, and only
// then reads the manifest and compares it with what was asked for: channel,
// arch, expiry, floor. What passes is a Verified, and only this package makes
// one; fetch, store and kexec accept nothing else. Trust does not travel in files: a
// program that reads a manifest from a disk verifies it again. Clocks come in
// as arguments.
package trust

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
)

// Any, as a channel or an arch, asks for none in particular. It must be said:
// an empty Policy field is refused, so that forgetting one lets nothing in.
const Any = "any"

// Policy is what is required of a manifest from the network.
type Policy struct {
	// Channel and Arch as in the manifest, or Any.
	Channel, Arch string
	// Floor is the highest version verified before for this channel and arch;
	// below it is a rollback. 0 is no floor.
	Floor uint64
	// FloorDigest is the payload digest of the release at the floor; another
	// payload of that version is an equivocation. Zero when it is not known.
	FloorDigest names.Digest
	// Now is what expiry is judged against; see the function Now.
	Now time.Time
}

// Verified is a release that a root's release keys have signed. The zero value
// is none.
type Verified struct {
	manifest manifest.Manifest
	envelope []byte
	payload  []byte
	digest   names.Digest
	ok       bool
}

// Valid is false for the zero value; users of a Verified refuse that one.
func (v Verified) Valid() bool { return v.ok }

// Manifest returns a copy of what was signed.
func (v Verified) Manifest() manifest.Manifest {
	m := v.manifest
	m.Artifacts = maps.Clone(m.Artifacts)
	if m.Rollout != nil {
		copied := *m.Rollout
		m.Rollout = &copied
	}
	return m
}

// Envelope returns a copy of the envelope, byte for byte as it was verified.
func (v Verified) Envelope() []byte { return bytes.Clone(v.envelope) }

// Payload returns a copy of the manifest's JSON as it was signed, fields
// unknown to this program included.
func (v Verified) Payload() []byte { return bytes.Clone(v.payload) }

// Digest is the SHA-256 of the payload: the release's name among machines.
func (v Verified) Digest() names.Digest { return v.digest }

// Check is one question asked of a manifest and its answer.
type Check struct {
	Name   string       `json:"name"`
	OK     bool         `json:"ok"`
	Code   refusal.Code `json:"code"` // empty when OK
	Detail string       `json:"detail"`
}

// Verify accepts what the network offers: signed by the role of its channel,
// the root and the manifest unexpired, of the channel and arch asked for, not
// below the floor, and the same release as the floor when of its version.
// Errors are *Refusal, the first check that did not hold.
func (r Root) Verify(data []byte, p Policy) (Verified, error) {
	v, checks := r.inspect(data, p, true)
	return verdict(v, checks)
}

// VerifyHeld accepts a release that this machine holds and may boot: the same
// signatures, channel and arch as Verify, but neither expiry nor floor, which
// gate only what is newly taken from the network.
func (r Root) VerifyHeld(data []byte, channel, arch string) (Verified, error) {
	v, checks := r.inspect(data, Policy{Channel: channel, Arch: arch}, false)
	return verdict(v, checks)
}

// verdict is the first check that did not hold, or v, which is valid from here
// on.
func verdict(v Verified, checks []Check) (Verified, error) {
	for _, c := range checks {
		if !c.OK {
			return Verified{}, &refusal.Refusal{Code: c.Code, Detail: c.Detail}
		}
	}
	v.ok = true
	return v, nil
}

// Check does what Verify does and returns every answer, in the order of the
// checks. A manifest that is not signed is not read, so the list ends there.
func (r Root) Check(data []byte, p Policy) []Check {
	_, checks := r.inspect(data, p, true)
	return checks
}

// Floor is the highest version, with its digest, among envelopes of releases
// that this machine has verified before for a channel and an arch; 0 for none.
// One that this root does not vouch for is not counted: a new root that takes
// a stolen key back undoes the floor which a release signed by it has raised.
func (r Root) Floor(channel, arch string, envelopes ...[]byte) (version uint64, digest names.Digest) {
	for _, data := range envelopes {
		v, err := r.VerifyHeld(data, channel, arch)
		if m := v.Manifest(); err == nil && m.Version > version {
			version, digest = m.Version, v.Digest()
		}
	}
	return version, digest
}

// SignRelease makes the envelope of a manifest.
func SignRelease(m manifest.Manifest, keys ...ed25519.PrivateKey) ([]byte, error) {
	payload, err := m.Payload()
	if err != nil {
		return nil, err
	}
	return envelope.Sign(manifest.PayloadType, payload, keys...)
}

// Now is the time to judge expiry by: the clock's, but never before any of the
// floors, which come from signed material alone (the build time, the created
// of verified manifests). A clock that fell back to 1970 thus cannot bring an
// expired release to life; one that says 2100 accepts nothing until it is set.
func Now(clock time.Time, floors ...time.Time) time.Time {
	for _, floor := range floors {
		if clock.Before(floor) {
			clock = floor
		}
	}
	return clock
}
