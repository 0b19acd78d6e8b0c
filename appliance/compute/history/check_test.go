package history

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// damaged changes a few bits, bytes or pages of a database.
func damaged(whole []byte, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	data := append([]byte(nil), whole...)
	page := os.Getpagesize()
	some := func() int { return r.IntN(len(data)/page) * page }
	for range 1 + r.IntN(4) {
		switch r.IntN(3) {
		case 0:
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		case 1:
			data[some()+r.IntN(64)] = byte(r.IntN(256)) // where its header is
		case 2:
			copy(data[some():][:page], data[some():])
		}
	}
	return data
}

// A history in which something is damaged is refused when it is opened, or does
// all that one does: nothing of it takes the daemon down later.
func FuzzDamaged(f *testing.F) {
	path := filepath.Join(f.TempDir(), File)
	h := open(f, path, wide)
	for n := range 300 {
		if n%7 == 0 {
			if err := h.Begin(entry(n), nonce(n)); err != nil {
				f.Fatal(err)
			}
			continue
		}
		finish(f, h, n)
	}
	shut(f, h)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		path := filepath.Join(t.TempDir(), File)
		if err := os.WriteFile(path, damaged(whole, seed), 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := Open(path, wide)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			return
		}
		list, _, _ := h.List("", 1000)
		for _, r := range list {
			_, _ = h.Get(r.RunID)
		}
		for n := 1000; n < 1003; n++ {
			if h.Begin(entry(n), nonce(n)) == nil {
				_ = h.End(done(entry(n)))
			}
		}
		_ = h.Close()
	})
}

// Of each kind of damage one.
func TestCheckRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	h := open(t, path, wide)
	for n := range 300 {
		finish(t, h, n)
	}
	shut(t, h)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	// One page of each kind that is in use, and one that is free.
	var branch, leaf, free int
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		for id := 2; ; id++ {
			p, err := tx.Page(id)
			switch {
			case err != nil || p == nil:
				return err
			case p.Type == "branch":
				branch = id
			case p.Type == "leaf" && p.OverflowCount == 0 && id+1 < len(whole)/page:
				if next, err := tx.Page(id + 1); err == nil && next != nil && next.Type == "free" {
					leaf = id
				}
			case p.Type == "free":
				free = id
			}
			id += p.OverflowCount
		}
	})
	if err := errors.Join(err, db.Close()); err != nil || branch == 0 || leaf == 0 || free == 0 {
		t.Fatalf("branch %d, leaf %d, free %d: %v", branch, leaf, free, err)
	}
	for name, change := range map[string]func(data []byte){
		"nothing":                          func([]byte) {},
		"a branch that names itself":       func(d []byte) { d[branch*page+24], d[branch*page+25] = byte(branch), byte(branch>>8) },
		"a branch that names a free page":  func(d []byte) { d[branch*page+24], d[branch*page+25] = byte(free), byte(free>>8) },
		"a branch that names page 2^63":    func(d []byte) { d[branch*page+31] = 0x80 },
		"a branch of nothing":              func(d []byte) { d[branch*page+10], d[branch*page+11] = 0, 0 },
		"a leaf that is another page":      func(d []byte) { d[leaf*page]++ },
		"a leaf of no kind":                func(d []byte) { d[leaf*page+8] = 0x40 },
		"a leaf with too much in it":       func(d []byte) { d[leaf*page+11] = 0xff },
		"a leaf that runs over":            func(d []byte) { d[leaf*page+12] = 1 },
		"a leaf that runs over everything": func(d []byte) { d[leaf*page+15] = 0xff },
		"a value behind its page":          func(d []byte) { d[leaf*page+16+14] = 0xff },
		"keys that are out of order":       func(d []byte) { copy(d[leaf*page+16+20:][:8], "\x00\x00\x00\x00\x00\x00\x00\x00") },
	} {
		data := append([]byte(nil), whole...)
		change(data)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := Open(path, wide)
		if err == nil {
			shut(t, h)
		}
		if name == "nothing" && err != nil || name != "nothing" && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
