// Package roots loads the roots that a program trusts from its start on: the
// one in a file, which is trusted because of where it lies, and the later ones
// in folders, each of which must follow from the one before it. How one follows
// from another is package chain.
package roots

import (
	"errors"
	"fmt"
	"log/slog"

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
	Root string `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root to trust, with those beside it in root/ that follow it (${default})."`
}

// LoadRoots loads the root that the option names and those that follow it, and
// logs what is wrong with files beside it.
func (f Flag) LoadRoots() (Loaded, error) {
	l, err := LoadNamed(f.Root)
	for _, problem := range l.Problems {
		slog.Warn(problem.Error())
	}
	return l, err
}

// LoadNamed is LoadChain for a program that a person tells the path, with
// --root; the error says what was being done, and how to name another file when
// there is none.
func LoadNamed(path string, folders ...string) (Loaded, error) {
	l, err := LoadChain(path, folders...)
	var refused *refusal.Refusal
	switch {
	case errors.As(err, &refused):
		return l, fmt.Errorf("reading the root %w", err)
	case err != nil:
		return l, fmt.Errorf("reading the root (name another with --root): %w", err)
	}
	return l, nil
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
