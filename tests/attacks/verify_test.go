package attacks

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/manifest"
)

// vectors are the documents that every reader must judge alike.
const vectors = "../vectors"

// vector is a line of cases.json in vectors/manifest or vectors/root.
type vector struct {
	File    string `json:"file"`
	Root    string `json:"root"` // that judges a manifest
	Channel string `json:"channel"`
	Arch    string `json:"arch"`
	Floor   uint64 `json:"floor"`
	Digest  string `json:"floor_digest"`
	Now     string `json:"now"`
	PadTo   int    `json:"pad_to"`
	Code    string `json:"code"`
	Why     string `json:"why"`
}

// readVectors reads the bad ones of a folder by what is wrong with them: the
// word that their names begin with. Those that need the digest of the floor, for
// which verify has no option, are left out.
func readVectors(t testing.TB, folder string) map[string][]vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectors, folder, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	kinds := map[string][]vector{}
	for _, v := range list {
		if kind, _, _ := strings.Cut(strings.TrimSuffix(v.File, ".json"), "-"); v.Code != "" && v.Digest == "" {
			kinds[kind] = append(kinds[kind], v)
		}
	}
	return kinds
}

// path is the file to read, padded where the case says so.
func (v vector) path(t testing.TB, folder string) string {
	t.Helper()
	path := filepath.Join(vectors, folder, v.File)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) >= v.PadTo {
		return path
	}
	return write(t, v.File, append(data, strings.Repeat(" ", v.PadTo-len(data))...))
}

// verdict is what verify --json prints.
type verdict struct {
	OK     bool `json:"ok"`
	Checks []struct {
		OK                 bool
		Name, Code, Detail string
	} `json:"checks"`
}

// first is the first check that did not hold.
func (v verdict) first() (name, code, detail string) {
	for _, c := range v.Checks {
		if !c.OK {
			return c.Name, c.Code, c.Detail
		}
	}
	return "", "", ""
}

// judged runs verify, and says whether it refused with one of the codes.
func judged(t testing.TB, codes string, args ...string) (said string, held bool) {
	t.Helper()
	e := call(t, append([]string{"verify", "--json"}, args...)...)
	var v verdict
	e.decode(t, &v)
	name, code, detail := v.first()
	if v.OK || e.code != 1 {
		return fmt.Sprintf("ok [exit %d]", e.code), false
	}
	return fmt.Sprintf("FAIL %s: %s (%s) [exit %d]", name, detail, code, e.code), oneOf(code, codes)
}

// classOf are the classes that the kinds of vectors belong to.
var classOf = map[string]int{
	"signature": 1, "arch": 2, "channel": 2, "policy": 3, "version": 4, "expires": 5, "created": 5, "root": 5,
	"size": 8, "threshold": 15, "cmdline": 0,
}

func verifyRows(t *testing.T, m *matrix) {
	var rows []row
	for _, folder := range []string{"manifest", "root"} {
		kinds := readVectors(t, folder)
		for kind, list := range kinds {
			class, known := classOf[kind]
			switch {
			case folder == "root":
				class = 15
			case !known:
				class = 13
			}
			rows = append(rows, row{class, folder + "-" + kind, vectorsAre(folder, list), func(t *testing.T) (string, bool) {
				return allJudged(t, folder, list)
			}})
		}
	}
	p := newProject(t)
	root := write(t, "root.json", p.Root.Raw())
	m.try(t, "verify", append(rows, clockRows(root, p)...)...)
}

func vectorsAre(folder string, list []vector) string {
	why := []string{}
	for _, v := range list {
		why = append(why, v.Why)
	}
	return fmt.Sprintf("%d of tests/vectors/%s: %s", len(list), folder, strings.Join(why[:min(len(why), 3)], "; "))
}

// allJudged has verify judge each vector; it says what it said of the last one,
// or of the first that was not refused as it must be.
func allJudged(t *testing.T, folder string, list []vector) (said string, held bool) {
	for _, v := range list {
		args := []string{"--root", filepath.Join(vectors, "manifest", v.Root), "--channel", v.Channel, "--arch", v.Arch,
			"--floor", fmt.Sprint(v.Floor), "--now", v.Now, v.path(t, folder)}
		if folder == "root" { // as the root that judges a good manifest
			args = []string{"--root", v.path(t, folder), filepath.Join(vectors, "manifest", "good.json")}
		}
		if said, held = judged(t, v.Code, args...); !held {
			return v.File + ": " + said, false
		}
	}
	return said, true
}

// clockRows are what a wrong clock does: --now is what the clock would say.
func clockRows(root string, p *project) []row {
	next := func(t *testing.T) string { return write(t, "manifest.json", p.next.Envelope()) }
	return []row{
		{5, "clock-2099", "a good release while the clock says 2099: refused, and told how to mend it", func(t *testing.T) (string, bool) {
			said, held := judged(t, "expired", "--root", root, "--now", "2099-01-01T00:00:00Z", next(t))
			return said, held && has(said, "by the clock it is 2099-01-01") && has(said, "set the clock of this machine")
		}},
		{5, "root-expired", "a root that has expired: it accepts nothing new", func(t *testing.T) (string, bool) {
			late := p.made.Changed(t, func(m *manifest.Manifest) { m.Expires = p.Root.Expires().AddDate(1, 0, 0) })
			return judged(t, "expired", "--root", root, "--now", p.Root.Expires().Add(time.Second).Format(time.RFC3339), write(t, "late.json", late))
		}},
		{5, "expired-now", "a release on the day it expires", func(t *testing.T) (string, bool) {
			return judged(t, "expired", "--root", root, "--now", p.next.Manifest().Expires.Add(time.Second).Format(time.RFC3339), next(t))
		}},
	}
}
