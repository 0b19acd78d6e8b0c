package attacks

import (
	"crypto/ed25519"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
	"phase/tests/hostile"
	"phase/tests/storetest"
)

// keeper is somebody with the keys of a fleet whose roots ask for k of n.
type keeper struct {
	root    []byte // signed, version 1 or what it follows
	rootKey ed25519.PrivateKey
	keys    []ed25519.PrivateKey // of role release
}

// newKeeper makes a root of a version with one root key and release keys of
// which threshold must sign. It is signed by its own root key and by others.
func newKeeper(t testing.TB, version uint64, keys, threshold int, others ...ed25519.PrivateKey) keeper {
	t.Helper()
	key := func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	k := keeper{rootKey: key()}
	spec := trust.RootSpec{Version: version, Expires: time.Now().AddDate(1, 0, 0), Roles: map[string]trust.RoleSpec{
		trust.RoleRoot: {Keys: []ed25519.PublicKey{k.rootKey.Public().(ed25519.PublicKey)}, Threshold: 1},
	}}
	release := trust.RoleSpec{Threshold: threshold}
	for range keys {
		k.keys = append(k.keys, key())
		release.Keys = append(release.Keys, k.keys[len(k.keys)-1].Public().(ed25519.PublicKey))
	}
	spec.Roles[trust.RoleRelease] = release
	var err error
	if k.root, err = trust.SignRoot(spec, append([]ed25519.PrivateKey{k.rootKey}, others...)...); err != nil {
		t.Fatal(err)
	}
	return k
}

// release is r of a version, signed by some keys.
func (k keeper) release(t testing.TB, r hostile.Release, version uint64, keys ...ed25519.PrivateKey) hostile.Release {
	t.Helper()
	r.Manifest.Version = version
	var err error
	if r.Envelope, err = trust.SignRelease(r.Manifest, keys...); err != nil {
		t.Fatal(err)
	}
	return r
}

// withRoots answers as a provider of a release that hands on roots too.
func withRoots(r hostile.Release, roots map[uint64][]byte) hostile.Serve {
	return hostile.HTTP(func(w http.ResponseWriter, q *http.Request) {
		for version, root := range roots {
			if strings.HasSuffix(q.URL.Path, "/"+layout.Root(version)) {
				_, _ = w.Write(root)
				return
			}
		}
		r.Answer(w, q)
	})
}

// rootRows are stolen keys, and roots from the network.
func rootRows(t *testing.T, m *matrix) {
	p := newProject(t)
	next := p.made.Next
	two := newKeeper(t, 1, 2, 2) // a fleet of which two keys must sign
	mine := newKeeper(t, 1, 1, 1)
	rotated := newKeeper(t, 2, 1, 1, mine.rootKey)
	third := newKeeper(t, 3, 1, 1, rotated.rootKey)
	thief := newKeeper(t, 2, 1, 1)                   // of nobody's
	byRelease := newKeeper(t, 2, 1, 1, mine.keys[0]) // the next root, by a stolen release key
	skipped := newKeeper(t, 3, 1, 1, mine.rootKey)
	fetch := func(t *testing.T, root []byte, providers ...hostile.Serve) (fetched, ended, string) {
		dir := t.TempDir()
		var urls []string
		for _, s := range providers {
			urls = append(urls, serve(t, loopback(t), s))
		}
		f, e := p.fetches(t, write(t, "root.json", root), dir, urls...)
		return f, e, dir
	}
	nothing := func(codes string, root []byte, offered hostile.Serve) func(*testing.T) (string, bool) {
		return func(t *testing.T) (string, bool) {
			f, e, dir := fetch(t, root, offered)
			left, _ := filepath.Glob(filepath.Join(dir, "*", "*", layout.ManifestFile))
			return fmt.Sprintf("%s [exit %d]", f.Reason, e.code), !f.OK && e.code == 1 && oneOf(f.Code, codes) && len(left) == 0
		}
	}
	taken := func(version uint64, root []byte, providers ...hostile.Serve) func(*testing.T) (string, bool) {
		return func(t *testing.T) (string, bool) {
			f, e, _ := fetch(t, root, providers...)
			return fmt.Sprintf("version %d; %s [exit %d]", f.Version, lastLine(e.stderr), e.code), f.OK && f.Version == version
		}
	}
	stolen := hostile.Offer(mine.release(t, next, 99, mine.keys[0]).Envelope, nil)
	first, second := map[uint64][]byte{2: rotated.root}, map[uint64][]byte{2: rotated.root, 3: third.root}
	m.try(t, "roots",
		row{15, "one-of-two", "one of two release keys is stolen", nothing("threshold", two.root, two.release(t, next, 99, two.keys[0]).Honest(nil))},
		row{15, "one-of-two-twice", "the same key signs twice", nothing("threshold", two.root, two.release(t, next, 99, two.keys[0], two.keys[0]).Honest(nil))},
		row{15, "rotated", "the release key is stolen, and the next root taken from the network takes it back",
			taken(nextVersion, mine.root, stolen, withRoots(rotated.release(t, next, nextVersion, rotated.keys[0]), first))},
		row{15, "chain", "one who knows root 1 alone walks to root 3 first",
			taken(nextVersion, mine.root, withRoots(third.release(t, next, nextVersion, third.keys[0]), second))},
		row{15, "unknown-root", "a next root that nobody of the fleet signed, and a release under it",
			nothing("signature", mine.root, withRoots(thief.release(t, next, 99, thief.keys[0]), map[uint64][]byte{2: thief.root}))},
		row{15, "release-key-root", "a next root that a stolen release key signed",
			nothing("signature", mine.root, withRoots(byRelease.release(t, next, 99, byRelease.keys[0]), map[uint64][]byte{2: byRelease.root}))},
		row{15, "skipped-root", "root 3 in the place of root 2",
			nothing("format|signature", mine.root, withRoots(skipped.release(t, next, 99, skipped.keys[0]), map[uint64][]byte{2: skipped.root}))},
		row{4, "fast-forward", "version 2^53-1 of a stolen key is held; the next root, which takes the key back, brings the floor down", func(t *testing.T) (string, bool) {
			dir := t.TempDir()
			far := mine.release(t, next, manifest.MaxVersion, mine.keys[0])
			lay(t, dir, mine.root, far)
			url := serve(t, loopback(t), withRoots(rotated.release(t, next, nextVersion, rotated.keys[0]), first))
			f, e := p.fetches(t, filepath.Join(dir, layout.Root(1)), dir, url)
			return fmt.Sprintf("version %d; %s [exit %d]", f.Version, lastLine(e.stderr), e.code), f.OK && f.Version == nextVersion
		}},
	)
}

// lay lays a release out in a folder, with the root beside it.
func lay(t testing.TB, dir string, root []byte, r hostile.Release) {
	t.Helper()
	signer := storetest.SignerOf(t, root, nil)
	held, err := signer.Root.VerifyHeld(r.Envelope, trust.Any, trust.Any)
	if err != nil {
		t.Fatal(err)
	}
	signer.Write(t, dir, storetest.Release{Verified: held, Bytes: r.Artifacts})
}
