package trial

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/release"
)

func digest(b byte) release.Digest { return release.Sum([]byte{b}) }

// journals are all the places; reopen gives the same journal to another boot.
func journals(t *testing.T) map[string]func(boot string) Journal {
	folder, efi := t.TempDir(), t.TempDir()
	return map[string]func(string) Journal{
		"disk": func(boot string) Journal { return InFolder(folder, boot) },
		"efi":  func(boot string) Journal { return InEFI(efi, boot) },
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwoTries(t *testing.T) {
	for name, open := range journals(t) {
		t.Run(name, func(t *testing.T) {
			bad, good := digest(1), digest(2)
			j := open("first")
			if j.Where() != name || j.Failed(bad) {
				t.Fatalf("a new journal at %s says failed %v", j.Where(), j.Failed(bad))
			}
			must(t, j.Begin(bad))
			must(t, j.Begin(bad)) // the same boot: a jump that was attempted twice
			if j.Failed(bad) {
				t.Error("one boot counted as two tries")
			}
			j = open("second")
			if records, err := j.Open(); err != nil || len(records) != 1 || records[0].Digest != bad || records[0].Tries != 1 {
				t.Errorf("open after the first try: %+v, %v", records, err)
			}
			must(t, j.Begin(bad))
			j = open("third")
			if !j.Failed(bad) {
				t.Error("two tries without coming up are no failure")
			}
			if err := j.Begin(bad); err == nil || !strings.Contains(err.Error(), "2 times") {
				t.Errorf("a third try: %v", err)
			}
			// The next release is not held responsible, and comes up.
			must(t, j.Begin(good))
			j = open("fourth")
			must(t, j.Good(good))
			must(t, open("fifth").Begin(good))
			must(t, open("sixth").Good(good))
			if j = open("seventh"); j.Failed(good) || !j.Failed(bad) {
				t.Errorf("good failed %v, bad failed %v", j.Failed(good), j.Failed(bad))
			}
			if records, err := j.Open(); err != nil || len(records) != 1 {
				t.Errorf("open at the end: %+v, %v", records, err)
			}
		})
	}
}

func TestOldestIsForgotten(t *testing.T) {
	j := InFolder(t.TempDir(), "boot")
	for i := range byte(20) {
		must(t, j.Begin(digest(i)))
	}
	records, err := j.Records()
	if err != nil || len(records) != maxRecords || records[maxRecords-1].Digest != digest(19) {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// A journal that cannot be read stops jumps, until it is begun anew.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, File), []byte(`{"trials":[{"dig`), 0o644))
	j := InFolder(dir, "boot")
	if err := j.Begin(digest(1)); err == nil {
		t.Error("a try was counted in a torn journal")
	}
	must(t, j.Reset())
	must(t, j.Begin(digest(1)))
}

// When the count cannot be kept there is no jump.
func TestNoPlace(t *testing.T) {
	j := InFolder(filepath.Join(t.TempDir(), "gone"), "boot")
	if err := j.Begin(digest(1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Begin without a folder: %v", err)
	}
}

func TestMemory(t *testing.T) {
	j := InMemory()
	must(t, j.Begin(digest(1)))
	if j.Where() != "memory" || j.Failed(digest(1)) {
		t.Error("one try is a failure")
	}
}

func TestEFIVariableLayout(t *testing.T) {
	dir := t.TempDir()
	must(t, InEFI(dir, "b").Begin(digest(1)))
	data, err := os.ReadFile(filepath.Join(dir, Variable))
	must(t, err)
	if !bytes.HasPrefix(data, []byte{7, 0, 0, 0, '{'}) || (len(data)-4)%padTo != 0 {
		t.Errorf("the variable holds %d bytes, %q…", len(data), data[:8])
	}
}

// FuzzParse states: a journal that reads writes back as the same records.
func FuzzParse(f *testing.F) {
	data, err := format([]Record{{digest(1), 2, false, "b"}, {digest(2), 0, true, ""}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"trials":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parse(data)
		if err != nil {
			return
		}
		again, err := format(records)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parse(again)
		if err != nil || len(back) != len(records) || len(records) > maxRecords {
			t.Fatalf("%q became %q: %v", data, again, err)
		}
		for i := range back {
			if back[i] != records[i] {
				t.Errorf("%+v became %+v", records[i], back[i])
			}
		}
	})
}
