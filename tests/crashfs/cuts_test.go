package crashfs

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/trial"
)

// make test-powercut-store sets these.
var (
	cuts = flag.Int("cuts", 100, "power cuts of each scenario; a slow one has a tenth")
	seed = flag.Uint64("seed", 1, "seed of the first cut; the others follow it")
)

// scenarios are the code that a node trusts with what must survive.
func scenarios(t testing.TB) []Scenario {
	return []Scenario{replacing(), writingNew(), trying(), keepingRuns(), keepingReleases(t)}
}

// TestCuts: whatever a power cut leaves, the code starts from it, and keeps what
// it promised.
func TestCuts(t *testing.T) {
	need(t)
	for _, s := range scenarios(t) {
		t.Run(s.Name, func(t *testing.T) {
			r, err := s.Record(Forget{})
			if err != nil {
				t.Fatal(err)
			}
			cuts := share(s, *cuts)
			broken := broken(r, cuts)
			for _, err := range broken[:min(len(broken), 3)] {
				t.Error(err)
			}
			t.Logf("%d requests, %d cuts, SEED=%d, %d broken", r.Requests(), cuts, *seed, len(broken))
		})
	}
}

// share is how many of a number of cuts a scenario has.
func share(s Scenario, cuts int) int {
	if s.Slow {
		return max(1, cuts/10)
	}
	return cuts
}

// broken are the errors of a number of cuts.
func broken(r *Recording, cuts int) (errs []error) {
	for i := range uint64(cuts) {
		if err := r.Cut(*seed + i); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// TestCutsSeeAMissingSync: on a file system that forgets what is synced, of files
// or of folders, every scenario breaks. Were one still green, it would show
// nothing.
func TestCutsSeeAMissingSync(t *testing.T) {
	need(t)
	for _, s := range scenarios(t) {
		for what, forget := range map[string]Forget{"files": {Files: true}, "folders": {Folders: true}} {
			t.Run(s.Name+"/"+what, func(t *testing.T) {
				r, err := s.Record(forget)
				if err != nil {
					t.Fatal(err)
				}
				cuts := share(s, 200)
				n := len(broken(r, cuts))
				if n == 0 {
					t.Errorf("without fsync of %s none of %d cuts broke anything", what, cuts)
				}
				t.Logf("without fsync of %s, %d of %d cuts break it", what, n, cuts)
			})
		}
	}
}

// TestBuiltWithoutSync: the same of code that is built not to sync.
func TestBuiltWithoutSync(t *testing.T) {
	need(t)
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-tags=nosync", "-run=^TestCuts$", "-v", ".").CombinedOutput()
	if err == nil {
		t.Errorf("it passes:\n%s", out)
	}
	for _, s := range scenarios(t) {
		// A failure of another kind shows nothing.
		if failed := "--- FAIL: TestCuts/" + strings.ReplaceAll(s.Name, " ", "_"); !strings.Contains(string(out), failed) {
			t.Errorf("there is no %q in\n%s", failed, out)
		}
	}
}

// text is what a file of these scenarios has: several sectors, each with the
// number in it.
func text(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "version %03d\n", n), 300) }

// replacing is a state file that is written again and again.
func replacing() Scenario {
	const file, versions = "state.json", 8
	return Scenario{
		Name: "statefile.Replace",
		Run: func(dir string, promise func(string)) error {
			for v := range versions {
				if err := statefile.Replace(filepath.Join(dir, file), text(v), 0o644); err != nil {
					return err
				}
				promise(fmt.Sprint(v))
			}
			return nil
		},
		Check: func(dir string, promised []string) error {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if errors.Is(err, fs.ErrNotExist) && len(promised) == 0 {
				return nil
			}
			if err != nil {
				return err
			}
			// That of the last promise, or the one that was being written.
			for v := max(0, len(promised)-1); v <= min(len(promised), versions-1); v++ {
				if bytes.Equal(data, text(v)) {
					return nil
				}
			}
			return fmt.Errorf("after version %d, %s has %d bytes %.40q", len(promised)-1, file, len(data), data)
		},
	}
}

// writingNew is a file that is made once, as an identity is.
func writingNew() Scenario {
	const file = "identity.pem"
	return Scenario{
		Name: "statefile.WriteNew",
		Run: func(dir string, promise func(string)) error {
			path := filepath.Join(dir, file)
			if err := statefile.WriteNew(path, text(1), 0o600); err != nil {
				return err
			}
			promise("made")
			if err := statefile.WriteNew(path, text(2), 0o600); !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("it was made again: %w", err)
			}
			return nil
		},
		Check: func(dir string, promised []string) error {
			data, err := os.ReadFile(filepath.Join(dir, file))
			switch {
			case errors.Is(err, fs.ErrNotExist) && len(promised) == 0:
				return nil
			case err != nil:
				return err
			case !bytes.Equal(data, text(1)):
				return fmt.Errorf("%s has %d bytes %.40q", file, len(data), data)
			}
			return nil
		},
	}
}

// trying is the journal of trials over several boots: two releases of which one
// comes up.
func trying() Scenario {
	bad, good := names.Sum([]byte("bad")), names.Sum([]byte("good"))
	open := func(dir string, boot int) trial.Journal {
		return trial.InFolder(dir, trial.Boot{ID: fmt.Sprintf("boot-%d", boot), Up: func() time.Duration { return 0 }})
	}
	// A promise is what the journal says when a step is over.
	says := func(j trial.Journal) (string, error) {
		records, err := j.Records()
		var all []string
		for _, r := range records {
			r.Boot = ""
			all = append(all, fmt.Sprintf("%+v", r))
		}
		slices.Sort(all)
		return strings.Join(all, "; "), err
	}
	steps := []func(trial.Journal) error{
		func(j trial.Journal) error { return j.Begin(bad, 1, trial.Expect{}) },
		func(j trial.Journal) error { return j.Begin(bad, 1, trial.Expect{}) },
		func(j trial.Journal) error { return j.Begin(good, 2, trial.Expect{Network: true}) },
		func(j trial.Journal) error { return j.Good(good) },
		func(j trial.Journal) error { return j.Lasted(good) },
		func(j trial.Journal) error { return j.Begin(good, 2, trial.Expect{Network: true}) },
		func(j trial.Journal) error { return j.Good(good) },
	}
	var all []string // what the journal says before the first step, and after each
	return Scenario{
		Name: "release/trial",
		Run: func(dir string, promise func(string)) error {
			all = []string{""}
			for boot, step := range steps {
				j := open(dir, boot)
				if err := step(j); err != nil {
					return err
				}
				now, err := says(j)
				if err != nil {
					return err
				}
				all = append(all, now)
				promise(now)
			}
			return nil
		},
		Check: func(dir string, promised []string) error {
			now, err := says(open(dir, 100))
			if err != nil {
				return err
			}
			if n := len(promised); !slices.Contains(all[n:min(n+2, len(all))], now) {
				return fmt.Errorf("the journal says %q, it was to say one of %q", now, all[n:min(n+2, len(all))])
			}
			return nil
		},
	}
}
