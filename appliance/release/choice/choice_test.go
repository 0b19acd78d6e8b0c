package choice_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/choice"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/tests/storetest"
	"phase/tests/storetest/ondisk"
)

// TestOrder: the newest good release, or one with tries left, is started; never an
// older one, a damaged one or one that failed.
func TestOrder(t *testing.T) {
	signer := storetest.NewSigner(t)
	release := func(channel string, version uint64) storetest.Release {
		return signer.Release(t, channel, "x86_64", version, storetest.Sizes)
	}
	candidate := func(version uint64, record trial.Record) choice.Candidate {
		return choice.Candidate{Release: disk.Release{Verified: release("stable", version).Verified}, Record: record}
	}
	good := trial.Record{Good: true}
	damaged := candidate(50, good)
	damaged.Missing = []string{"kernel"}
	other := candidate(50, good)
	other.Verified = release("testing", 50).Verified
	pinned, asked := candidate(5, good), candidate(30, trial.Record{})
	running := candidate(10, good)
	node := choice.Node{Running: running.Verified, Channel: "stable", Trials: true, Up: 10 * time.Second}
	for name, c := range map[string]struct {
		change func(*choice.Node)
		list   []choice.Candidate
		want   []uint64
		why    string
	}{
		"nothing":                 {},
		"newest good":             {list: []choice.Candidate{candidate(30, good), candidate(20, good)}, want: []uint64{30, 20}},
		"order of the list":       {list: []choice.Candidate{candidate(20, good), candidate(30, good)}, want: []uint64{30, 20}},
		"never tried":             {list: []choice.Candidate{candidate(30, trial.Record{}), candidate(20, good)}, want: []uint64{30, 20}},
		"tried once":              {list: []choice.Candidate{candidate(30, trial.Record{Tries: 1})}, want: []uint64{30}},
		"failed":                  {list: []choice.Candidate{candidate(30, trial.Record{Tries: 2})}, why: "was started and did not come up; it is tried again only once"},
		"failed, an hour later":   {change: func(n *choice.Node) { n.Up = time.Hour }, list: []choice.Candidate{candidate(30, trial.Record{Tries: 2})}, want: []uint64{30}},
		"failed for good":         {change: func(n *choice.Node) { n.Up = 1000 * time.Hour }, list: []choice.Candidate{candidate(30, trial.Record{Tries: 4})}, why: "not tried again"},
		"updates off":             {change: func(n *choice.Node) { n.Trials = false }, list: []choice.Candidate{candidate(30, trial.Record{Tries: 1})}, why: "updates are off"},
		"updates off, good":       {change: func(n *choice.Node) { n.Trials = false }, list: []choice.Candidate{candidate(30, good)}, want: []uint64{30}},
		"good, three cuts":        {list: []choice.Candidate{candidate(30, trial.Record{Good: true, Tries: 3})}, want: []uint64{30}},
		"good, four cuts":         {list: []choice.Candidate{candidate(30, trial.Record{Good: true, Tries: 4, Up: true})}, why: "did not last; it is tried again only once this machine has been up for 1 h"},
		"the running one":         {list: []choice.Candidate{running}, why: "it runs"},
		"an older one":            {list: []choice.Candidate{candidate(9, good)}, why: "not newer than version 10"},
		"a damaged one":           {list: []choice.Candidate{damaged, candidate(30, good)}, want: []uint64{30}, why: `damaged: ["kernel"] missing`},
		"of another channel":      {list: []choice.Candidate{other}, why: "on channel testing"},
		"of the node's channel":   {change: func(n *choice.Node) { n.Channel = "testing" }, list: []choice.Candidate{other, candidate(60, good)}, want: []uint64{50}},
		"an older one, by owner":  {change: func(n *choice.Node) { n.Pin = pinned.Digest() }, list: []choice.Candidate{candidate(30, good), pinned}, want: []uint64{5}, why: "held on another one"},
		"one the owner asked for": {change: func(n *choice.Node) { n.Pin, n.Next = pinned.Digest(), asked.Digest() }, list: []choice.Candidate{candidate(40, good), asked, pinned}, want: []uint64{30, 5}, why: "held on another one"},
		"it runs":                 {change: func(n *choice.Node) { n.Pin, n.Next = pinned.Digest(), n.Running.Digest() }, list: []choice.Candidate{pinned}, why: "left it for the one that runs"},
	} {
		t.Run(name, func(t *testing.T) {
			n := node
			if c.change != nil {
				c.change(&n)
			}
			var got []uint64
			for _, m := range n.Order(c.list) {
				got = append(got, m.Manifest().Version)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("it starts %d, want %d", got, c.want)
			}
			if len(c.list) > 0 {
				if why := n.Refusal(c.list[0]); !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
					t.Errorf("the first is refused for %q, want %q", why, c.why)
				}
			}
		})
	}
}

// TestCandidates: what the store has comes with what the journal knows; a journal
// that cannot be read is said, and everything is as if it had never been tried.
func TestCandidates(t *testing.T) {
	signer := storetest.NewSigner(t)
	dir := t.TempDir()
	s, err := disk.Create(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	r := signer.Release(t, "stable", "x86_64", 20, storetest.Sizes)
	if err := ondisk.Keep(s, r); err != nil {
		t.Fatal(err)
	}
	journal := trial.InFolder(dir, trial.Boot{ID: "a", Up: func() time.Duration { return 0 }})
	if err := journal.Begin(r.Digest(), 20, trial.Expect{}); err != nil {
		t.Fatal(err)
	}
	list, err := choice.Candidates(s, signer.Root, "x86_64", journal)
	if err != nil || len(list) != 1 || list[0].Record.Tries != 1 || !list[0].Whole() {
		t.Errorf("%+v, %v", list, err)
	}
}
