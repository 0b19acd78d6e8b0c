// Package record reads and writes what a fleet publishes for all to find: its
// roots and the manifest of its newest release, in one value that proves
// itself. The key of the value names the fleet by its first root, that root
// certifies the chain, and the chain certifies the manifest; so any node can
// refuse a forged value for any fleet, whatever it trusts itself. A valid
// record of another fleet is nothing to boot: only For, which asks the
// reader's own roots, makes a trust.Verified of it.
package record

import (
	"bytes"
	"cmp"
	"errors"
	"strings"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/strictjson"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

const (
	// MaxBytes caps a value: 64 KiB.
	MaxBytes = 64 << 10
	// Namespace is the first part of every key.
	Namespace = "phase"
	suffix    = "manifest"
)

// Key names a line of releases: what one fleet publishes on one channel for
// one arch.
type Key struct {
	Fleet, Channel, Arch string
}

// ParseKey reads "/phase/<fleet>/<channel>/<arch>/manifest", in the one
// spelling that String writes. Errors are *refusal.Refusal.
func ParseKey(text string) (Key, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 6 || parts[0] != "" || parts[1] != Namespace || parts[5] != suffix {
		return Key{}, refusal.New(refusal.Format, "key %.120q is not /%s/<fleet>/<channel>/<arch>/%s", text, Namespace, suffix)
	}
	k := Key{Fleet: parts[2], Channel: parts[3], Arch: parts[4]}
	return k, k.Check()
}

// Check says what is wrong with a key: a *refusal.Refusal, or nil.
func (k Key) Check() error {
	if err := chain.CheckFleet(k.Fleet); err != nil {
		return err
	}
	if _, err := names.ParseChannel(k.Channel); err != nil {
		return refusal.New(refusal.Channel, "%v", err)
	}
	if arch, err := names.ParseArch(k.Arch); err != nil || arch != k.Arch {
		return refusal.New(refusal.Arch, "arch %.32q is none of %s", k.Arch, strings.Join(names.Arches, ", "))
	}
	return nil
}

// String is "/phase/<fleet>/<channel>/<arch>/manifest".
func (k Key) String() string {
	return "/" + strings.Join([]string{Namespace, k.Fleet, k.Channel, k.Arch, suffix}, "/")
}

// Record is a value that belongs under its key. Only Parse makes one.
type Record struct {
	key      Key
	value    []byte
	roots    chain.Chain
	verified trust.Verified // by its own chain, so not to be handed out
}

type wire struct {
	Roots    []strictjson.Raw `json:"roots"`
	Manifest strictjson.Raw   `json:"manifest"`
}

// Make puts the roots of a fleet and the envelope of a manifest into a value,
// and returns it with its key. The envelopes stand in it byte for byte, but for
// white space around them. What Parse would refuse is refused.
func Make(roots chain.Chain, envelope []byte, now time.Time) (Record, error) {
	held, err := roots.Last().VerifyHeld(envelope, trust.Any, trust.Any)
	if err != nil {
		return Record{}, err
	}
	m := held.Manifest()
	var value bytes.Buffer
	value.WriteString(`{"roots":[`)
	for i, root := range roots.Roots() {
		if i > 0 {
			value.WriteByte(',')
		}
		value.Write(bytes.TrimSpace(root.Raw()))
	}
	value.WriteString(`],"manifest":`)
	value.Write(bytes.TrimSpace(envelope))
	value.WriteByte('}')
	return Parse(Key{Fleet: roots.Fleet(), Channel: m.Channel, Arch: m.Arch}, value.Bytes(), now)
}

// Parse checks a value against its key: of at most MaxBytes, the key names its
// first root, each root follows the one before it, the last root is unexpired
// at now and certifies the manifest, and the manifest is of the key's channel
// and arch and unexpired. Errors are *refusal.Refusal.
func Parse(key Key, value []byte, now time.Time) (Record, error) {
	if err := key.Check(); err != nil {
		return Record{}, err
	}
	w, err := parse(value)
	if err != nil {
		return Record{}, err
	}
	// The key first: it costs one hash, a chain many verifications.
	first, err := trust.ParseRoot(w.Roots[0])
	if err != nil {
		return Record{}, err
	}
	roots, err := chain.Of(first)
	if err != nil {
		return Record{}, err
	}
	if roots.Fleet() != key.Fleet {
		return Record{}, refusal.New(refusal.Signature, "the first root is that of fleet %s, the key names %s", roots.Fleet(), key.Fleet)
	}
	links := make([][]byte, 0, len(w.Roots)-1)
	for _, link := range w.Roots[1:] {
		links = append(links, link)
	}
	if roots, err = roots.Append(links...); err != nil {
		return Record{}, err
	}
	verified, err := roots.Last().Verify(w.Manifest, trust.Policy{Channel: key.Channel, Arch: key.Arch, Now: now})
	if err != nil {
		return Record{}, err
	}
	return Record{key: key, value: bytes.Clone(value), roots: roots, verified: verified}, nil
}

func parse(value []byte) (wire, error) {
	var w wire
	if err := strictjson.Unmarshal(value, &w, strictjson.Limit(MaxBytes)); errors.Is(err, strictjson.ErrSize) {
		return w, refusal.New(refusal.Size, "reading a record: %v", err)
	} else if err != nil {
		return w, refusal.New(refusal.Format, "reading a record: %v", err)
	}
	if len(w.Roots) == 0 || len(w.Manifest) == 0 {
		return w, refusal.New(refusal.Format, "reading a record: roots and manifest must be there")
	}
	if len(w.Roots) > chain.MaxLinks {
		return w, refusal.New(refusal.Size, "reading a record: %d roots, at most %d", len(w.Roots), chain.MaxLinks)
	}
	return w, nil
}

// Key is what the record was checked against.
func (r Record) Key() Key { return r.key }

// Value returns a copy of the bytes that were read; nil for the zero Record.
func (r Record) Value() []byte { return bytes.Clone(r.value) }

// Roots is the chain in the record, of the fleet that its key names.
func (r Record) Roots() chain.Chain { return r.roots }

// Version is that of the release.
func (r Record) Version() uint64 { return r.verified.Manifest().Version }

// Digest names the release: the SHA-256 of the manifest's payload.
func (r Record) Digest() names.Digest { return r.verified.Digest() }

// Artifacts of the release, by name.
func (r Record) Artifacts() map[string]manifest.Artifact { return r.verified.Manifest().Artifacts }

// Expires is when nobody will take the record any more: when its manifest or
// its last root expires.
func (r Record) Expires() time.Time {
	release, root := r.verified.Manifest().Expires, r.roots.Last().Expires()
	if root.Before(release) {
		return root
	}
	return release
}

// For is the release as one may boot it who trusts own: the record must be of
// the same fleet and its roots must agree with own, and the manifest is judged
// by the longer of both chains, so that a key that was rotated away counts no
// more for one who knows that. It returns that chain too. p is as in
// trust.Root.Verify; its Channel and Arch must be those of the key.
func (r Record) For(own chain.Chain, p trust.Policy) (trust.Verified, chain.Chain, error) {
	if len(r.value) == 0 {
		return trust.Verified{}, chain.Chain{}, refusal.New(refusal.Signature, "no record")
	}
	roots, err := own.Join(r.roots)
	if err != nil {
		return trust.Verified{}, chain.Chain{}, err
	}
	v, err := roots.Last().Verify(r.verified.Envelope(), p)
	return v, roots, err
}

// Compare is positive when a is to be kept rather than b, records of one key,
// negative when b is, and 0 when they say the same. The one with the longer
// chain of roots wins, because rotating a root takes back what a stolen key
// has signed, then the higher version, then the lower digest, as between
// offers. The zero Record loses to every other.
func Compare(a, b Record) int {
	x, y := a.Digest(), b.Digest()
	return cmp.Or(
		cmp.Compare(a.roots.Last().Version(), b.roots.Last().Version()),
		cmp.Compare(a.Version(), b.Version()),
		bytes.Compare(y[:], x[:]),
	)
}

// Select is the index of the best of several values of one key, as Compare
// says, the first among equals. Values that Parse refuses are passed over; when
// none is left, the error is the first refusal.
func Select(key Key, values [][]byte, now time.Time) (int, error) {
	best, at := Record{}, -1
	var first error
	for i, value := range values {
		r, err := Parse(key, value, now)
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && (at < 0 || Compare(r, best) > 0):
			best, at = r, i
		}
	}
	if at < 0 {
		return 0, cmp.Or(first, error(refusal.New(refusal.Format, "no value to choose from")))
	}
	return at, nil
}
