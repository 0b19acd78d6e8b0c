package history

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// spoil changes a few bits, bytes or pages of a database.
func spoil(whole []byte, seed uint64) []byte {
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

// A history that is damaged is refused when it is opened, or works: it does not
// take the daemon down later.
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
		if err := os.WriteFile(path, spoil(whole, seed), 0o600); err != nil {
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

// filled is a history of 300 runs, as a file.
func filled(t testing.TB) []byte {
	t.Helper()
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
	return whole
}

// Of each kind of damage one.
func TestCheckRefuses(t *testing.T) {
	whole := filled(t)
	path := filepath.Join(t.TempDir(), File)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
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
		"a branch of zeroes":               func(d []byte) { clear(d[branch*page:][:page]) },
		"a leaf of zeroes":                 func(d []byte) { clear(d[leaf*page:][:page]) },
		"all behind the headers zeroes":    func(d []byte) { clear(d[2*page:]) },
		"a bit of records":                 func(d []byte) { copy(d, bytes.ReplaceAll(d, []byte(`"run_id"`), []byte(`#run_id"`))) },
		"pages that name each other": func(d []byte) {
			copy(d[leaf*page:][:page], d[branch*page:][:page])
			d[leaf*page], d[leaf*page+1] = byte(leaf), byte(leaf>>8)
			d[leaf*page+24], d[leaf*page+25] = byte(branch), byte(branch>>8)
			d[branch*page+24], d[branch*page+25] = byte(leaf), byte(leaf>>8)
		},
	} {
		data := bytes.Clone(whole)
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

// A file that ends too early, wherever that is, is refused and stays as it is.
func TestTruncated(t *testing.T) {
	whole := filled(t)
	path := filepath.Join(t.TempDir(), File)
	page := os.Getpagesize()
	for _, size := range []int{1, page, 2*page - 1, 2 * page, 3*page + 100, len(whole) / 2} { // behind it are pages not yet used
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := Open(path, wide); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d of %d bytes: %v", size, len(whole), err)
			if err == nil {
				shut(t, h)
			}
		}
		if kept, err := os.ReadFile(path); err != nil || !bytes.Equal(kept, whole[:size]) {
			t.Errorf("cut to %d bytes, it was changed: %v", size, err)
		}
	}
	// The least that is a history is none yet.
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shut(t, open(t, path, wide))
}

// What is checked while another daemon has the file open is not damaged.
func TestCheckInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	h := open(t, path, wide)
	defer shut(t, h)
	if err := check(path); !errors.Is(err, ErrInUse) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
