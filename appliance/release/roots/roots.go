// Package roots loads the root document that a program trusts, and the chain
// of roots that leads to it. The root given is the root used; how later
// versions follow from it, link by link, is package chain.
package roots

import (
	"errors"
	"fmt"
	"path/filepath"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

// Default is the file of a node that says whose signatures count. It is part
// of the rootfs, so it is as trusted as the program that reads it.
const Default = "/etc/phase/root.json"

// Flag is the option --root of a command line.
type Flag struct {
	Root string `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root to trust (${default})."`
}

// LoadRoot loads the root that the option names.
func (f Flag) LoadRoot() (trust.Root, error) { return LoadNamed(f.Root) }

// LoadNamed is Load for a program that a person tells the path, with --root;
// the error says what was being done, and how to name another file when there
// is none.
func LoadNamed(path string) (trust.Root, error) {
	root, err := Load(path)
	var refused *refusal.Refusal
	switch {
	case errors.As(err, &refused):
		return root, fmt.Errorf("reading the root %w", err)
	case err != nil:
		return root, fmt.Errorf("reading the root (name another with --root): %w", err)
	}
	return root, nil
}

// Load reads a root document of at most envelope.MaxBytes. It shows that the
// document is whole, as trust.ParseRoot does; that it is ours follows from
// where it lies. The error names the path, and is a *refusal.Refusal when the
// file was read and is no root.
func Load(path string) (trust.Root, error) {
	data, err := statefile.ReadCapped(path, envelope.MaxBytes)
	if err != nil {
		return trust.Root{}, err
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		return trust.Root{}, fmt.Errorf("%s: %w", path, err)
	}
	return root, nil
}

// LoadChain loads the chain that leads to a root which is trusted, from the
// file it was loaded from: it begins with root version 1, whose digest names
// the fleet. A later root tells nothing of the first, so the versions before
// it must lie beside it as root/<version>.json; each must lead to the next, and
// the last to the trusted root itself.
func LoadChain(path string, trusted trust.Root) (chain.Chain, error) {
	if trusted.Version() == 1 {
		return chain.Of(trusted)
	}
	folder := filepath.Dir(path)
	if filepath.Base(folder) == layout.RootFolder {
		folder = filepath.Dir(folder)
	}
	var links [][]byte
	for version := uint64(1); version < trusted.Version() && len(links) <= chain.MaxLinks; version++ {
		file := filepath.Join(folder, filepath.FromSlash(layout.Root(version)))
		data, err := statefile.ReadCapped(file, envelope.MaxBytes)
		if err != nil {
			return chain.Chain{}, fmt.Errorf("the root is version %d, and the name of its fleet follows from version 1, so put the versions before it beside it: %w", trusted.Version(), err)
		}
		links = append(links, data)
	}
	c, err := chain.Parse(append(links, trusted.Raw())...)
	if err != nil {
		return chain.Chain{}, fmt.Errorf("walking the roots in %s: %w", filepath.Join(folder, layout.RootFolder), err)
	}
	return c, nil
}
