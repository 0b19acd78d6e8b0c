package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// A root is signed by its own keys, a release by those that the root names for
// releases; what the root does not vouch for, or what is too old, is refused.
func Example() {
	key := func(seed byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)) }
	public := func(k ed25519.PrivateKey) []ed25519.PublicKey {
		return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
	}
	rootKey, releaseKey, now := key(1), key(2), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	document, err := trust.SignRoot(trust.RootSpec{
		Version: 1, Expires: now.AddDate(1, 0, 0),
		Roles: map[string]trust.RoleSpec{
			trust.RoleRoot:    {Keys: public(rootKey), Threshold: 1},
			trust.RoleRelease: {Keys: public(releaseKey), Threshold: 1},
		},
	}, rootKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	root, err := trust.ParseRoot(document)
	if err != nil {
		fmt.Println(err)
		return
	}

	a := manifest.Artifact{Size: 5, SHA256: names.Sum([]byte("bytes"))}
	m := manifest.Manifest{
		Version: 7, Name: "example", Channel: "stable", Arch: "x86_64", Created: now, Expires: now.AddDate(0, 6, 0),
		Artifacts: map[string]manifest.Artifact{"kernel": a, "initramfs": a, "rootfs": a},
	}
	policy := trust.Policy{Channel: "stable", Arch: "x86_64", Floor: 7, Now: now}
	for _, signer := range []ed25519.PrivateKey{releaseKey, rootKey} {
		envelope, err := trust.SignRelease(m, signer)
		if err != nil {
			fmt.Println(err)
			return
		}
		v, err := root.Verify(envelope, policy)
		fmt.Println(v.Valid(), err)
	}
	m.Version = 6
	envelope, err := trust.SignRelease(m, releaseKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := root.Verify(envelope, policy)
	fmt.Println(v.Valid(), err)
	// Output:
	// true <nil>
	// false no key of role "release" has signed (signature)
	// false version 6 is below the floor 7 (rollback)
}
