// Package roots loads the root document that a program trusts. The root given
// is the root used: when later versions of it are reached link by link, each
// signed by the one before it, that walk belongs here.
package roots

import (
	"errors"
	"fmt"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
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
