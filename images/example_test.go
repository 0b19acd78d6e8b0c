package images_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/images"
)

// keys makes the keys of a fleet, and reads those that sign its releases.
func keys() (release ed25519.PrivateKey, trusted chain.Chain) {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := images.MakeKeys(dir, rand.Reader, time.Now()); err != nil {
		log.Fatal(err)
	}
	release, trusted, err = images.LoadKeys(dir)
	if err != nil {
		log.Fatal(err)
	}
	return release, trusted
}

// Keys are made once; every release is signed by the release key, under the
// root document that names it.
func ExampleSign() {
	key, trusted := keys()
	created := time.Now().UTC().Truncate(time.Second)
	m := manifest.Manifest{Version: 7, Name: "seven", Channel: "stable", Arch: "x86_64", Created: created, Expires: created.Add(images.Lifetime),
		Cmdline: "panic=10", Artifacts: map[string]manifest.Artifact{}}
	for _, name := range manifest.Required {
		m.Artifacts[name] = manifest.Artifact{Size: int64(len(name)), SHA256: names.Sum([]byte(name))}
	}
	signed, err := images.Sign(m, trusted.Last(), key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed.Manifest().Name, signed.Manifest().Version)

	_, others := keys()
	_, err = images.Sign(m, others.Last(), key)
	fmt.Println(strings.HasPrefix(err.Error(), "the root does not accept these release keys"))
	// Output:
	// seven 7
	// true
}
