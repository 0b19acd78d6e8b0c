package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mr-tron/base58"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
)

// The public key of the Ed25519 test vector in libp2p's peer id
// specification, and what its base58 comes to.
const (
	specKey  = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
	specPeer = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
	// A peer id that the specification prints as an example.
	otherPeer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
)

func TestPeerID(t *testing.T) {
	key, err := hex.DecodeString(specKey)
	if err != nil {
		t.Fatal(err)
	}
	if got := PeerID(key); got != specPeer {
		t.Errorf("PeerID = %s, want %s", got, specPeer)
	}
	if got, err := ParsePeerID(specPeer); err != nil || !bytes.Equal(got, key) {
		t.Errorf("ParsePeerID: %x, %v", got, err)
	}
	if key, err := ParsePeerID(otherPeer); err != nil || PeerID(key) != otherPeer {
		t.Errorf("the specification's example: %v", err)
	}
	if got := Name(key); got != "phase-9721e4d9" {
		t.Errorf("Name = %s", got)
	}
	for _, text := range []string{
		"", "12D3KooW", specPeer[:51], specPeer + "1", "1" + specPeer, specPeer + "\n", " " + specPeer, strings.Replace(specPeer, "B", "0", 1),
		"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", // of an RSA key: only its hash
		strings.Repeat("1", 1000),
		base58.Encode(key), PeerID(key[:31]), PeerID(append(bytes.Clone(key), 0)),
	} {
		if _, err := ParsePeerID(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestLoadMakesOnceAndKeeps(t *testing.T) {
	dir := t.TempDir()
	first, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Load(dir)
	if err != nil || second.PeerID() != first.PeerID() {
		t.Errorf("a second identity: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, statefile.IdentityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was left beside the key: %v", entries)
	}
	data, err := first.Sign("text/plain", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := envelope.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePeerID(second.PeerID())
	if err != nil {
		t.Fatal(err)
	}
	if got := e.SignedBy(map[string]ed25519.PublicKey{"x": key}); len(got) != 1 {
		t.Error("the peer id does not verify the identity's signature")
	}
}

// TestLoadRace: many makers, one identity.
func TestLoadRace(t *testing.T) {
	dir := t.TempDir()
	peers := make([]string, 16)
	var wg sync.WaitGroup
	for i := range peers {
		wg.Go(func() {
			if id, err := Load(dir); err != nil {
				t.Error(err)
			} else {
				peers[i] = id.PeerID()
			}
		})
	}
	wg.Wait()
	for _, peer := range peers {
		if peer != peers[0] {
			t.Fatalf("several identities: %q", peers)
		}
	}
}

// TestLoadRefuses: a bad key file is refused, with the next step, and left as
// it is.
func TestLoadRefuses(t *testing.T) {
	good := func(t *testing.T) []byte {
		dir := t.TempDir()
		if _, err := Load(dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, statefile.IdentityFile))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}(t)
	for name, c := range map[string]struct {
		data []byte
		mode os.FileMode
		says string
	}{
		"empty":    {nil, 0o600, "damaged"},
		"torn":     {good[:len(good)/2], 0o600, "damaged"},
		"zeroes":   {make([]byte, len(good)), 0o600, "damaged"},
		"readable": {good, 0o644, "chmod 600"},
		"group":    {good, 0o640, "chmod 600"},
		"huge":     {append(bytes.Clone(good), bytes.Repeat([]byte{'\n'}, 1<<20)...), 0o600, "damaged"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, statefile.IdentityFile)
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		id, err := Load(dir)
		if err == nil || id.Valid() || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, c.data) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, statefile.IdentityFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder for a key: %v", err)
	}
	if _, err := Load(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("an identity was kept in no folder")
	}
}

func TestEphemeral(t *testing.T) {
	a, err := Ephemeral(bytes.NewReader(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Ephemeral(bytes.NewReader(bytes.Repeat([]byte{2}, 32)))
	if err != nil || a.PeerID() == b.PeerID() || a.Name() == b.Name() || !a.Valid() {
		t.Errorf("two draws, one identity: %v", err)
	}
	if _, err := Ephemeral(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too little randomness: %v", err)
	}
	if (Identity{}).Valid() {
		t.Error("the zero Identity is valid")
	}
	if _, err := (Identity{}).Sign("text/plain", nil); err == nil {
		t.Error("the zero Identity signed")
	}
}

func FuzzParsePeerID(f *testing.F) {
	f.Add(specPeer)
	f.Add(otherPeer)
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := ParsePeerID(text); err == nil && PeerID(key) != text {
			t.Fatalf("%q and %q are one peer", text, PeerID(key))
		}
	})
}

// TestKept: an identity is read as it is kept, and never made or reached by a link.
func TestKept(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if _, err := Kept(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none is kept: %v", err)
	}
	made, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := Kept(dir); err != nil || id.PeerID() != made.PeerID() {
		t.Errorf("kept: %v, %v", id.Valid(), err)
	}
	if err := os.Symlink(filepath.Join(dir, statefile.IdentityFile), filepath.Join(other, statefile.IdentityFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Kept(other); err == nil {
		t.Error("a link out of the folder is followed")
	}
}
