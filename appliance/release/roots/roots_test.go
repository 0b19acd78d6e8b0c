package roots_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/release/roots"
	"phase/tests/storetest"
)

// The error tells a file that is not there from one that is no root, and a
// person how to go on.
func TestLoad(t *testing.T) {
	signer := storetest.NewSigner(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("root.json", signer.Root.Raw())
	if root, err := roots.Load(good); err != nil || root.Version() != 1 || !bytes.Equal(root.Raw(), signer.Root.Raw()) {
		t.Errorf("version %d, %v", root.Version(), err)
	}
	release := signer.Release(t, "stable", "arm64", 1, storetest.Sizes)
	for _, c := range []struct {
		path string
		code refusal.Code
		want string
	}{
		{filepath.Join(dir, "none"), "", "reading the root (name another with --root): open "},
		{dir, "", "reading the root (name another with --root): "},
		{file("empty", nil), refusal.Format, "reading the root " + dir + "/empty: "},
		{file("manifest", release.Envelope()), refusal.Format, "reading the root " + dir + "/manifest: "},
		{file("large", make([]byte, envelope.MaxBytes+1)), refusal.Size, "reading the root " + dir + "/large: "},
	} {
		loaded, err := roots.LoadNamed(c.path)
		root := loaded.Last()
		var refused *refusal.Refusal
		if !strings.HasPrefix(err.Error(), c.want) || refusal.CodeOf(err) != c.code || errors.As(err, &refused) != (c.code != "") || root.Version() != 0 {
			t.Errorf("%s: %v, code %q", c.path, err, refusal.CodeOf(err))
		}
		if _, err := root.VerifyHeld(release.Envelope(), "stable", "arm64"); err == nil {
			t.Errorf("%s: what came with an error trusts somebody", c.path)
		}
	}
	if _, err := roots.Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if l, err := (roots.Flag{Root: good}).LoadRoots(); err != nil || l.Last().Version() != 1 || l.Chain.Fleet() != signer.Chain.Fleet() {
		t.Errorf("by flag: %v", err)
	}
}

// folder writes root documents as <name>.json into a new folder.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name+".json")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The first root names the fleet, so one who is given a later root needs the
// earlier ones beside it, and is told so.
func TestLaterRootGiven(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	dir := folder(t, map[string][]byte{"root": two.Root.Raw()})
	path := filepath.Join(dir, "root.json")
	l, err := roots.LoadChain(path)
	if err != nil || l.Last().Version() != 2 || len(l.Known()) != 1 {
		t.Fatalf("alone: version %d, %v", l.Last().Version(), err)
	}
	if !errors.Is(l.NoChain, fs.ErrNotExist) || l.Chain.Fleet() != "" || !strings.Contains(l.NoChain.Error(), filepath.Join(dir, "root", "1.json")) {
		t.Errorf("without version 1: %v", l.NoChain)
	}
	for why, c := range map[string]struct {
		first []byte
		code  refusal.Code
	}{
		"of a stranger": {storetest.NewSigner(t).Root.Raw(), refusal.Signature},
		"our own":       {one.Root.Raw(), ""},
	} {
		dir := folder(t, map[string][]byte{"root": two.Root.Raw(), "root/1": c.first, "root/2": two.Root.Raw()})
		for _, path := range []string{filepath.Join(dir, "root.json"), filepath.Join(dir, "root", "2.json")} {
			got, err := roots.LoadChain(path)
			if err != nil || refusal.CodeOf(got.NoChain) != c.code || (got.NoChain == nil) != (got.Chain.Last().Version() == 2 && len(got.Known()) == 2) {
				t.Errorf("version 1 %s: %v, %v", why, got.NoChain, err)
			}
		}
	}
}

// Later roots are taken from beside the file and from other folders; what is
// damaged, or of somebody else, is told, and takes nothing from what is known.
func TestLoadChain(t *testing.T) {
	one := storetest.NewSigner(t)
	two, fork, stranger := one.Rotate(t), one.Rotate(t), storetest.NewSigner(t).Rotate(t)
	three := two.Rotate(t)
	a, b, c := one.Root.Raw(), two.Root.Raw(), three.Root.Raw()
	for why, w := range map[string]struct {
		beside, store map[string][]byte
		last          uint64
		problems      []string // one each, in order
	}{
		"version 1 alone":          {nil, nil, 1, nil},
		"all beside":               {map[string][]byte{"root/2": b, "root/3": c}, nil, 3, nil},
		"version 1 there too":      {map[string][]byte{"root/1": a, "root/2": b}, nil, 2, nil},
		"all in the store":         {nil, map[string][]byte{"1": a, "2": b, "3": c}, 3, nil},
		"one each":                 {map[string][]byte{"root/2": b}, map[string][]byte{"3": c}, 3, nil},
		"the older in the store":   {map[string][]byte{"root/3": c}, map[string][]byte{"2": b}, 3, nil},
		"the same twice":           {map[string][]byte{"root/2": b}, map[string][]byte{"2": b, "3": c}, 3, nil},
		"a gap":                    {nil, map[string][]byte{"3": c}, 1, nil},
		"torn":                     {map[string][]byte{"root/2": b[:99], "root/3": c}, nil, 1, []string{"root/2.json: reading the envelope"}},
		"torn, good in the store":  {map[string][]byte{"root/2": b[:99], "root/3": c}, map[string][]byte{"2": b}, 3, []string{"root/2.json: "}},
		"empty in the store":       {map[string][]byte{"root/2": b}, map[string][]byte{"2": nil, "3": c}, 3, []string{"/2.json: "}},
		"too large":                {nil, map[string][]byte{"2": make([]byte, envelope.MaxBytes+1)}, 1, []string{"/2.json: "}},
		"of a stranger":            {map[string][]byte{"root/2": stranger.Root.Raw()}, nil, 1, []string{"no key of role"}},
		"under the wrong name":     {map[string][]byte{"root/2": c}, nil, 1, []string{"version 3 cannot follow version 1"}},
		"two of one version":       {map[string][]byte{"root/2": b}, map[string][]byte{"2": fork.Root.Raw(), "3": c}, 3, []string{"another root version 2"}},
		"the first of two is kept": {map[string][]byte{"root/2": fork.Root.Raw()}, map[string][]byte{"2": b, "3": c}, 2, []string{"another root version 2", "no key of role"}},
	} {
		path := filepath.Join(folder(t, map[string][]byte{"root": a}), "root.json")
		for name, data := range w.beside {
			file := filepath.Join(filepath.Dir(path), name+".json")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		l, err := roots.LoadChain(path, folder(t, w.store), "/nowhere/at/all")
		if err != nil || l.NoChain != nil || l.Last().Version() != w.last || l.Chain.Last().Version() != w.last || l.Chain.Fleet() != one.Chain.Fleet() {
			t.Errorf("%s: version %d, %v, %v", why, l.Last().Version(), err, l.NoChain)
		}
		ok := len(l.Problems) == len(w.problems)
		for i := range min(len(l.Problems), len(w.problems)) {
			ok = ok && strings.Contains(l.Problems[i].Error(), w.problems[i])
		}
		if !ok {
			t.Errorf("%s: problems %q", why, l.Problems)
		}
	}
	if (roots.Loaded{}).Last().Version() != 0 {
		t.Error("the zero Loaded trusts somebody")
	}
}

// FuzzLoadChain: whatever lies where a later root should, nobody is trusted whom
// the first root does not lead to.
func FuzzLoadChain(f *testing.F) {
	one := storetest.NewSigner(f)
	two := one.Rotate(f)
	f.Add(two.Root.Raw())
	f.Add(two.Root.Raw()[:100])
	f.Add(storetest.NewSigner(f).Rotate(f).Root.Raw())
	dir := f.TempDir()
	path, later := filepath.Join(dir, "root.json"), filepath.Join(dir, "root", "2.json")
	if err := errors.Join(os.WriteFile(path, one.Root.Raw(), 0o644), os.Mkdir(filepath.Dir(later), 0o755)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(later, data, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := roots.LoadChain(path)
		if err != nil || l.Chain.Fleet() != one.Chain.Fleet() {
			t.Fatalf("fleet %s, %v", l.Chain.Fleet(), err)
		}
		switch l.Last().Digest() {
		case one.Root.Digest():
			if len(l.Problems) != 1 {
				t.Fatalf("problems %v", l.Problems)
			}
		case two.Root.Digest():
		default:
			t.Fatalf("somebody else is trusted: %s", data)
		}
	})
}
