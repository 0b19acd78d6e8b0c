// Package storetest makes what tests of the HTTP side need: a root with keys of
// its own, and small releases signed by them, with their bytes.
package storetest

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
)

// Example stands in for the test where there is none, in an Example: what
// would fail the test panics.
type Example struct{ testing.TB }

// Helper does nothing.
func (Example) Helper() {}

// Fatal panics.
func (Example) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Signer signs releases that its Root vouches for.
type Signer struct {
	Root trust.Root
	// Chain leads from root version 1 to Root; the zero Chain when Root is a
	// later one that SignerOf was given.
	Chain chain.Chain

	rootKey, key ed25519.PrivateKey
}

// NewSigner makes a root of version 1 with one root key and one release key.
func NewSigner(t testing.TB) *Signer {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	signer := SignerOf(t, signRoot(t, 1, rootKey, key, rootKey), key)
	signer.rootKey = rootKey
	return signer
}

// Rotate makes the root that follows, with a root key and a release key of its
// own, and a signer with them. The old one stays as it is.
func (s *Signer) Rotate(t testing.TB) *Signer {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	data := signRoot(t, s.Root.Version()+1, rootKey, key, s.rootKey, rootKey)
	links, err := s.Chain.Append(data)
	if err != nil {
		t.Fatal(err)
	}
	return &Signer{Root: links.Last(), Chain: links, rootKey: rootKey, key: key}
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signRoot(t testing.TB, version uint64, rootKey, key ed25519.PrivateKey, signers ...ed25519.PrivateKey) []byte {
	t.Helper()
	one := func(key ed25519.PrivateKey) trust.RoleSpec {
		return trust.RoleSpec{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
	}
	data, err := trust.SignRoot(trust.RootSpec{
		Version: version, Expires: time.Now().AddDate(1, 0, 0),
		Roles: map[string]trust.RoleSpec{trust.RoleRoot: one(rootKey), trust.RoleRelease: one(key)},
	}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// SignerOf takes a root document and the key of its role release.
func SignerOf(t testing.TB, root []byte, key ed25519.PrivateKey) *Signer {
	t.Helper()
	parsed, err := trust.ParseRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	links, _ := chain.Of(parsed)
	return &Signer{Root: parsed, Chain: links, key: key}
}

// Seal signs any bytes as a manifest with the key of role release: what those who
// hold it can do by mistake or by force.
func (s *Signer) Seal(payload []byte) ([]byte, error) {
	return envelope.Sign(manifest.PayloadType, payload, s.key)
}

// Release is a signed release and the bytes of its artifacts.
type Release struct {
	trust.Verified
	Bytes map[string][]byte
}

// Sources are the artifacts as a store takes them.
func (r Release) Sources() map[string]store.Source {
	sources := map[string]store.Source{}
	for name, data := range r.Bytes {
		sources[name] = Bytes(data)
	}
	return sources
}

// Bytes is a store.Source of a file with these bytes, which has no name left.
func Bytes(data []byte) store.Source {
	return func() (*store.Blob, error) {
		f, err := os.CreateTemp("", "storetest")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		defer os.Remove(f.Name())
		if _, err := f.Write(data); err != nil {
			return nil, err
		}
		return store.File(f.Name())()
	}
}

// Sizes of the artifacts of a release whose size does not matter.
var Sizes = map[string]int{"kernel": 70_001, "initramfs": 3_001, "rootfs": 300_007}

// Release makes a release of random bytes, the same for the same version.
func (s *Signer) Release(t testing.TB, channel, arch string, version uint64, sizes map[string]int) Release {
	t.Helper()
	contents := map[string][]byte{}
	for name, size := range sizes {
		var seed [32]byte
		copy(seed[:], name)
		seed[31] = byte(version)
		contents[name] = make([]byte, size)
		_, _ = rand.NewChaCha8(seed).Read(contents[name]) // it never fails
	}
	return s.ReleaseOf(t, channel, arch, version, contents)
}

// ReleaseOf makes a release of artifacts with these bytes.
func (s *Signer) ReleaseOf(t testing.TB, channel, arch string, version uint64, contents map[string][]byte) Release {
	t.Helper()
	r := Release{Bytes: contents}
	m := manifest.Manifest{
		Version: version, Name: "test", Channel: channel, Arch: arch,
		Created: time.Now(), Expires: time.Now().AddDate(0, 6, 0), Cmdline: "quiet",
		Artifacts: map[string]manifest.Artifact{},
	}
	for name, data := range contents {
		m.Artifacts[name] = manifest.Artifact{Size: int64(len(data)), SHA256: names.Sum(data)}
	}
	envelope, err := trust.SignRelease(m, s.key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verified, err = s.Root.VerifyHeld(envelope, channel, arch); err != nil {
		t.Fatal(err)
	}
	return r
}

// Write lays a release out in a folder as `plasmd serve` reads it, and the root
// beside it.
func (s *Signer) Write(t testing.TB, dir string, r Release) {
	t.Helper()
	m := r.Manifest()
	at := filepath.Join(dir, layout.Release(m.Channel, m.Arch))
	files := map[string][]byte{filepath.Join(dir, layout.Root(s.Root.Version())): s.Root.Raw()}
	for name, data := range r.Bytes {
		files[filepath.Join(at, layout.FileName(name))] = data
	}
	files[filepath.Join(at, layout.ManifestFile)] = r.Envelope()
	for path, data := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
