package images

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/keyfile"
	"phase/appliance/base/keypem"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
)

type keyCommand struct {
	Dir  string `arg:"" optional:"" default:"build/keys" help:"The folder (build/keys)." type:"path"`
	Name string `short:"n" help:"Make one key pair of this name instead, NAME.pem and NAME.pub." placeholder:"NAME"`
	JSON bool   `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *keyCommand) run(_ context.Context, out output) error {
	if c.Name != "" {
		return c.pair(out)
	}
	made, err := MakeKeys(c.Dir, rand.Reader, time.Now())
	if err != nil {
		return err
	}
	switch {
	case c.JSON:
		return out.json(map[string]any{"made": made, "folder": c.Dir, "root": filepath.Join(c.Dir, rootDocument)})
	case made:
		_, err = fmt.Fprintln(out.stdout, madeKeys(c.Dir))
	default:
		_, err = fmt.Fprintf(out.stdout, "%s has keys already: nothing was changed\n", c.Dir)
	}
	return err
}

func madeKeys(dir string) string {
	return fmt.Sprintf("made keys in %s: keep root.pem offline, release.pem signs releases", dir)
}

// pair makes a key for one person, who gives the public half to the others.
func (c *keyCommand) pair(out output) error {
	if c.Name != filepath.Base(c.Name) || strings.HasPrefix(c.Name, ".") {
		return program.Usagef("--name %q is no file name", c.Name)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(c.Dir, c.Name+".pem")
	_, err := os.Stat(file)
	made := errors.Is(err, fs.ErrNotExist)
	key, err := makePair(file, rand.Reader)
	if err != nil {
		return err
	}
	half, id := strings.TrimSuffix(file, ".pem")+".pub", envelope.KeyID(public(key))
	if c.JSON {
		return out.json(map[string]any{"made": made, "private": file, "public": half, "keyid": id})
	}
	what := "made"
	if !made {
		what = "nothing was changed, there is"
	}
	_, err = fmt.Fprintf(out.stdout, "%s key %s\nkeep %s to yourself, give %s to whoever makes the root\n", what, id, file, half)
	return err
}

// readPublic reads a public key that somebody gave.
func readPublic(file string) (ed25519.PublicKey, error) {
	data, err := statefile.ReadCapped(file, envelope.MaxBytes)
	if err != nil {
		return nil, err
	}
	key, err := keypem.DecodePublic(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// readPrivate reads private keys, by their files.
func readPrivate(files []string) ([]ed25519.PrivateKey, error) {
	var keys []ed25519.PrivateKey
	for _, file := range files {
		key, err := keyfile.Read(file)
		if err != nil {
			return nil, fmt.Errorf("reading a key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
