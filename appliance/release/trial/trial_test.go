package trial

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
)

func digest(b byte) names.Digest { return names.Sum([]byte{b}) }

// journals are all the places; reopen gives the same journal to another boot.
func journals(t *testing.T) map[string]func(boot string) Journal {
	folder, efi := t.TempDir(), t.TempDir()
	return map[string]func(string) Journal{
		"disk": func(boot string) Journal { return InFolder(folder, booted(boot, 0)) },
		"efi":  func(boot string) Journal { return InEFI(efi, booted(boot, 0)) },
	}
}

// booted is a boot that has lasted for so long.
func booted(id string, up time.Duration) Boot {
	return Boot{id, func() time.Duration { return up }}
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
			must(t, j.Begin(bad, 1, Expect{}))
			must(t, j.Begin(bad, 1, Expect{})) // the same boot: a jump that was attempted twice
			if j.Failed(bad) {
				t.Error("one boot counted as two tries")
			}
			j = open("second")
			if records, err := j.Open(); err != nil || len(records) != 1 || records[0].Digest != bad || records[0].Tries != 1 {
				t.Errorf("open after the first try: %+v, %v", records, err)
			}
			must(t, j.Begin(bad, 1, Expect{}))
			j = open("third")
			if !j.Failed(bad) {
				t.Error("two tries without coming up are no failure")
			}
			if err := j.Begin(bad, 1, Expect{}); err == nil || !strings.Contains(err.Error(), "2 tries") {
				t.Errorf("a third try: %v", err)
			}
			// The next release is not held responsible, and comes up.
			must(t, j.Begin(good, 1, Expect{}))
			j = open("fourth")
			must(t, j.Good(good))
			must(t, open("fifth").Begin(good, 1, Expect{}))
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

// TestPowerCuts: two power cuts in a row at the worst moment cost a good release
// an hour, not its place; a bad one ends whatever happens.
func TestPowerCuts(t *testing.T) {
	dir, d, boots := t.TempDir(), digest(1), 0
	// try boots, stays up for so long, and jumps if it may.
	try := func(up time.Duration) bool {
		boots++
		j := InFolder(dir, booted(fmt.Sprint(boots), up))
		failed := j.Failed(d)
		if err := j.Begin(d, 1, Expect{}); failed != (err != nil) {
			t.Fatalf("boot %d: failed %v, but a try: %v", boots, failed, err)
		}
		return !failed
	}
	expect := func(want bool, up time.Duration) {
		t.Helper()
		if got := try(up); got != want {
			t.Errorf("boot %d, up for %v: jumped %v", boots, up, got)
		}
	}
	expect(true, 0)
	expect(true, 0)
	expect(false, 0)
	expect(false, time.Hour-1)
	expect(true, time.Hour)
	expect(false, 23*time.Hour)
	expect(true, 24*time.Hour)
	expect(false, 0)
	for range 100 {
		expect(false, 1000*time.Hour)
	}
	dir, boots = t.TempDir(), 0
	expect(true, 0)
	expect(true, 0)
	expect(true, time.Hour)
	must(t, InFolder(dir, booted("up", 0)).Good(d))
	must(t, InFolder(dir, booted("up", 0)).Lasted(d))
	// It is good, and is never given up; a machine that it does not bring up goes
	// on with another one for an hour, and then for a day.
	for range goodTries {
		expect(true, 0)
	}
	expect(false, 0)
	expect(true, time.Hour)
	for range 100 {
		expect(false, time.Hour)
		expect(true, 24*time.Hour)
	}
	must(t, InFolder(dir, booted("up", 0)).Good(d))
	expect(true, 0)
}

// TestDiesLater: a release that comes up and dies soon after is not jumped into
// for ever either; one that is switched off on purpose, or after a while, is.
func TestDiesLater(t *testing.T) {
	dir, d := t.TempDir(), digest(1)
	jumps := 0
	for boot := range 100 {
		j := InFolder(dir, booted(fmt.Sprint(boot), time.Minute))
		if j.Begin(d, 1, Expect{}) == nil {
			jumps++
			must(t, InFolder(dir, booted(fmt.Sprint(boot, " jumped"), time.Minute)).Good(d))
		}
		open, err := j.Open()
		must(t, err)
		// What may be tried again at once is no problem.
		if held := jumps == goodTries; held != (len(open) == 1) || held != j.Failed(d) && boot >= jumps {
			t.Errorf("after %d jumps in %d boots open are %+v, failed %v", jumps, boot+1, open, j.Failed(d))
		}
	}
	if jumps != goodTries {
		t.Errorf("%d jumps", jumps)
	}
	if r, err := InFolder(dir, booted("x", 0)).Open(); err != nil || r[0].Fate() != fmt.Sprintf("was started %d times, came up, and did not last", goodTries) {
		t.Errorf("%v, %v", r, err)
	}
	must(t, InFolder(dir, booted("x", 0)).Lasted(d))
	for boot := range 100 {
		must(t, InFolder(dir, booted(fmt.Sprint("later ", boot), time.Minute)).Begin(d, 1, Expect{}))
		j := InFolder(dir, booted(fmt.Sprint("later ", boot, " jumped"), time.Minute))
		must(t, j.Good(d))
		must(t, j.Lasted(d))
	}
}

// TestState: the state of a release follows from what is known of it.
func TestState(t *testing.T) {
	for want, records := range map[State][]Record{
		Held:  {{}},
		OnTry: {{Tries: 1}, {Tries: 1, Up: true}, {Tries: 2, Up: true}},
		Bad:   {{Tries: 2}, {Tries: 3}, {Tries: 4}, {Tries: 4, Up: true}},
		Good:  {{Good: true}, {Good: true, Tries: 10}},
	} {
		for _, r := range records {
			if got := r.State(); got != want {
				t.Errorf("%+v is %s, want %s", r, got, want)
			}
		}
	}
}

// TestReason: why a trial ended is kept until the next one begins, and is nothing
// that a journal has no room for.
func TestReason(t *testing.T) {
	dir, d := t.TempDir(), digest(1)
	expect := Expect{Network: true, Peers: true}
	must(t, InFolder(dir, booted("a", 0)).Begin(d, 1, expect))
	j := InFolder(dir, booted("b", 0))
	must(t, j.Ended(d, "no \"peer\"\n"+strings.Repeat("\x00é", maxBytes)))
	r, err := j.Find(d)
	if err != nil || r.Expect != expect || !strings.HasPrefix(r.Reason, "no  peer   ") || len(r.Reason) != maxReason {
		t.Errorf("%+v, %v", r, err)
	}
	if !strings.Contains(r.Fate(), ": no  peer") {
		t.Error(r.Fate())
	}
	must(t, j.Begin(d, 1, Expect{}))
	if r, err := j.Find(d); err != nil || r.Reason != "" || r.Expect != (Expect{}) || r.State() != Bad {
		t.Errorf("at the next try %+v, %v", r, err)
	}
	must(t, j.Good(d))
	must(t, j.Ended(d, "too late"))
	if r, err := j.Find(d); err != nil || r.Reason != "" {
		t.Errorf("a good release: %+v, %v", r, err)
	}
}

// TestNext: the words fit what is allowed.
func TestNext(t *testing.T) {
	for want, tries := range map[string][]int{
		"it may be tried once more":                                     {0, 1},
		"it is tried again only once this machine has been up for 1 h":  {2},
		"it is tried again only once this machine has been up for 24 h": {3},
		"it is not tried again":                                         {4, 5, maxTries},
	} {
		for _, n := range tries {
			if got := (Record{Tries: n}).Next(); got != want {
				t.Errorf("after %d tries: %q", n, got)
			}
		}
	}
	if got := (Record{Tries: maxTries, Good: true}).Next(); got != "it is tried again only once this machine has been up for 24 h" {
		t.Errorf("a good release: %q", got)
	}
}

func TestOldestIsForgotten(t *testing.T) {
	j := InFolder(t.TempDir(), booted("boot", 0))
	for i := range byte(20) {
		must(t, j.Begin(digest(i), 1, Expect{}))
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
	j := InFolder(dir, booted("boot", 0))
	if err := j.Begin(digest(1), 1, Expect{}); err == nil {
		t.Error("a try was counted in a torn journal")
	}
	must(t, j.Reset())
	must(t, j.Begin(digest(1), 1, Expect{}))
}

// When the count cannot be kept there is no jump.
func TestNoPlace(t *testing.T) {
	j := InFolder(filepath.Join(t.TempDir(), "gone"), booted("boot", 0))
	if err := j.Begin(digest(1), 1, Expect{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Begin without a folder: %v", err)
	}
}

func TestMemory(t *testing.T) {
	j := Journal{memory{}, booted("boot", 0)}
	must(t, j.Begin(digest(1), 1, Expect{}))
	if j.Where() != "memory" || j.Failed(digest(1)) {
		t.Error("one try is a failure")
	}
}

func TestEFIVariableLayout(t *testing.T) {
	dir := t.TempDir()
	must(t, InEFI(dir, booted("b", 0)).Begin(digest(1), 1, Expect{}))
	data, err := os.ReadFile(filepath.Join(dir, Variable))
	must(t, err)
	if !bytes.HasPrefix(data, []byte{7, 0, 0, 0, '{'}) || (len(data)-4)%padTo != 0 {
		t.Errorf("the variable holds %d bytes, %q…", len(data), data[:8])
	}
}

// FuzzParse states: a journal that reads writes back as the same records.
func FuzzParse(f *testing.F) {
	data, err := format([]Record{
		{Digest: digest(1), Tries: 2, Boot: "b", Expect: Expect{Peers: true}, Reason: "no peer"},
		{Digest: digest(2), Good: true, Lasted: true, Up: true},
	})
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
