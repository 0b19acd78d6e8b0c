package roots

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

// Loaded are the roots that a program trusts from its start on. The zero Loaded
// trusts nobody.
type Loaded struct {
	// Roots are the root in the file and those that follow it, oldest first.
	Roots []trust.Root
	// Chain is the same from version 1 on. It is the zero Chain when the file
	// holds a later version and those before it are not beside it; NoChain then
	// says what is missing.
	Chain   chain.Chain
	NoChain error
	// Problems name the files of later roots that are not used, and why.
	Problems []error
}

// Last is the newest of the roots: the one that judges releases.
func (l Loaded) Last() trust.Root {
	if len(l.Roots) == 0 {
		return trust.Root{}
	}
	return l.Roots[len(l.Roots)-1]
}

// Known are all roots, version 1 first where that one is known.
func (l Loaded) Known() []trust.Root {
	if l.NoChain == nil {
		return l.Chain.Roots()
	}
	return slices.Clone(l.Roots)
}

// LoadChain loads the root in a file, as Load does, and those that follow it:
// version n is <n>.json in the folder root beside the file or in one of the
// folders given. Where several folders have a version, the first that follows
// counts. A later file that is damaged or does not follow is a problem and no
// error: the chain ends before it, and what is known up to there is trusted.
func LoadChain(path string, folders ...string) (Loaded, error) {
	given, err := Load(path)
	if err != nil {
		return Loaded{}, err
	}
	l := Loaded{Roots: []trust.Root{given}}
	folders = append([]string{beside(path)}, folders...)
	for next, ok := l.next(folders); ok; next, ok = l.next(folders) {
		l.Roots = append(l.Roots, next)
	}
	l.Chain, l.NoChain = l.whole(beside(path))
	return l, nil
}

// next looks for the root after the last one.
func (l *Loaded) next(folders []string) (next trust.Root, found bool) {
	last := l.Last()
	if last.Version() >= chain.MaxLinks {
		return next, false
	}
	for i, folder := range folders {
		file := filepath.Join(folder, filepath.Base(layout.Root(last.Version()+1)))
		data, err := statefile.ReadCapped(file, envelope.MaxBytes)
		if errors.Is(err, fs.ErrNotExist) || slices.Contains(folders[:i], folder) {
			continue
		}
		var root trust.Root
		if err == nil {
			root, err = last.Next(data)
		}
		switch {
		case err != nil:
			l.Problems = append(l.Problems, fmt.Errorf("a root that is not used, remove it or put the right one there: %s: %w", file, err))
		case found && root.Digest() != next.Digest():
			l.Problems = append(l.Problems, fmt.Errorf("%s: %w", file, refusal.New(refusal.Equivocation, "another root version %d is trusted", next.Version())))
		case !found:
			next, found = root, true
		}
	}
	return next, found
}

// whole is the chain from version 1 on. A root tells nothing of those before
// it, so a file with a later one needs them beside it.
func (l *Loaded) whole(folder string) (chain.Chain, error) {
	given := l.Roots[0]
	var links [][]byte
	for version := uint64(1); version < given.Version() && len(links) <= chain.MaxLinks; version++ {
		data, err := statefile.ReadCapped(filepath.Join(folder, filepath.Base(layout.Root(version))), envelope.MaxBytes)
		if err != nil {
			return chain.Chain{}, fmt.Errorf("the root is version %d, and the name of its fleet follows from version 1, so put the versions before it beside it: %w", given.Version(), err)
		}
		links = append(links, data)
	}
	for _, root := range l.Roots {
		links = append(links, root.Raw())
	}
	c, err := chain.Parse(links...)
	if err != nil {
		return chain.Chain{}, fmt.Errorf("walking the roots in %s: %w", folder, err)
	}
	return c, nil
}

// beside is the folder of the other versions of the root in a file, which may
// itself lie in that folder.
func beside(path string) string {
	folder := filepath.Dir(path)
	if filepath.Base(folder) == layout.RootFolder {
		return folder
	}
	return filepath.Join(folder, layout.RootFolder)
}
