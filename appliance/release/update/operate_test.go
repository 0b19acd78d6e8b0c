package update

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/release/fetch"
	"phase/appliance/release/operator"
	"phase/appliance/release/trust"
	"phase/tests/await"
)

// operated is a loop that an operator asks, on a node that runs version 1; http://a
// has version 7.
type operated struct {
	*Operator
	ctx   context.Context
	ended chan error

	mu     sync.Mutex
	shown  statefile.Update
	pinned bool
	why    string
	out    bool
	took   []uint64
	taken  []operator.Taken
	fetch  func(context.Context) error // what a download does; nil: it succeeds
}

func operate(t *testing.T, change func(*operated, *Updater)) *operated {
	t.Helper()
	h := newHouse(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	o := &operated{Operator: NewOperator(), ctx: ctx, ended: make(chan error, 1)}
	u := Updater{
		Root: h.newest, Running: h.held(t, 1, "running"), Channel: "stable", Arch: "x86_64", Operator: o.Operator,
		Failed: func(names.Digest) bool { return false }, Now: func() time.Time { return day }, Providers: []string{"http://a"},
		Ask:    func(context.Context, string, string, string) ([]byte, error) { return h.sign(t, 7, "next"), nil },
		Pinned: func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.pinned },
		Out: func(trust.Verified) string {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.out {
				return "others first"
			}
			return ""
		},
		May:   func(trust.Verified) (string, time.Time) { o.mu.Lock(); defer o.mu.Unlock(); return o.why, time.Time{} },
		Ready: func(context.Context, trust.Verified) error { return nil },
		Fetch: func(ctx context.Context, v trust.Verified, _ []string) (Payload, fetch.Report, error) {
			o.mu.Lock()
			do := o.fetch
			o.took = append(o.took, v.Manifest().Version)
			o.mu.Unlock()
			if do != nil {
				return nil, fetch.Report{}, do(ctx)
			}
			return payload{}, fetch.Report{Bytes: 7, Providers: []fetch.ProviderReport{{URL: "http://a", Bytes: 7}}}, nil
		},
		Taken:  func(p operator.Taken) { o.mu.Lock(); defer o.mu.Unlock(); o.taken = append(o.taken, p) },
		Jump:   func(context.Context, trust.Verified) error { return nil },
		Report: func(u statefile.Update) { o.mu.Lock(); defer o.mu.Unlock(); o.shown = u },
	}
	change(o, &u)
	go func() { o.ended <- u.Run(ctx) }()
	t.Cleanup(cancel)
	return o
}

// until waits for what is shown.
func (o *operated) until(t *testing.T, what string, yes func(statefile.Update) bool) {
	t.Helper()
	if err := await.Until(t.Context(), func() bool { o.mu.Lock(); defer o.mu.Unlock(); return yes(o.shown) }); err != nil {
		t.Fatalf("%s: %v; shown %+v", what, err, o.shown)
	}
}

// TestWaiting: what may not be taken now is shown with its reason, a check says so,
// and apply takes it all the same, also on a node that is held; where it came from is
// told.
func TestWaiting(t *testing.T) {
	for name, change := range map[string]func(*operated, *Updater){
		"outside of the window": func(o *operated, _ *Updater) { o.why = "outside of the window" },
		"others first":          func(o *operated, _ *Updater) { o.out = true },
		"held":                  func(o *operated, _ *Updater) { o.pinned = true },
		"held on a release":     func(o *operated, _ *Updater) { o.pinned, o.why = true, "outside of the window" },
	} {
		t.Run(name, func(t *testing.T) {
			o := operate(t, change)
			o.until(t, "waiting", func(u statefile.Update) bool {
				return u.Waiting != nil && u.Waiting.Version == 7 && strings.Contains(u.Waiting.Why, name)
			})
			f, err := o.Check(t.Context())
			if err != nil || f.Providers != 1 || f.Silent != 0 || f.Newest.Manifest().Version != 7 || !strings.Contains(f.Why, name) {
				t.Errorf("check: %+v, %v", f, err)
			}
			if _, err := o.Apply(t.Context(), "me", names.Sum([]byte("x")), nil); operator.AsRefused(err).Code != operator.Conflict {
				t.Errorf("a release that nobody has: %v", err)
			}
			moved := false
			v, err := o.Apply(t.Context(), "me", names.Digest{}, func(trust.Verified) error { moved = true; return nil })
			if err != nil || v.Manifest().Version != 7 || moved != strings.HasPrefix(name, "held") {
				t.Errorf("apply: version %d, %v, moved %v", v.Manifest().Version, err, moved)
			}
			if err := <-o.ended; err != nil {
				t.Error(err)
			}
			if len(o.taken) != 1 || o.taken[0].By != "me" || o.taken[0].Root != 1 || len(o.taken[0].From) != 1 || o.taken[0].From[0].Bytes != 7 {
				t.Errorf("taken: %+v", o.taken)
			}
			if a := o.shown.Last; a.Result != "accepted" || a.By != "me" || a.Root != 1 {
				t.Errorf("shown: %+v", a)
			}
			if _, err := o.Check(t.Context()); !errors.Is(err, error(errRestarting)) {
				t.Errorf("a check after the jump: %v", err)
			}
		})
	}
}

// TestOutIsNoFloor: what is offered to others first does not keep a node from an
// older release that is offered to all.
func TestOutIsNoFloor(t *testing.T) {
	h := newHouse(t, 1)
	var told []uint64
	l := &loop{Updater: Updater{
		Root: h.newest, Running: h.held(t, 1, "running"), Channel: "stable", Arch: "x86_64", Now: func() time.Time { return day },
		Failed:   func(names.Digest) bool { return false },
		Verified: func(v trust.Verified) { told = append(told, v.Manifest().Version) },
		Out: func(v trust.Verified) string {
			if v.Manifest().Version == 8 {
				return "others first"
			}
			return ""
		},
	}}
	for _, version := range []uint64{8, 7} {
		if _, err := l.check(t.Context(), "http://a", "stable", "x86_64", h.sign(t, version, "next")); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || told[0] != 7 {
		t.Errorf("the floor was told of %d", told)
	}
}

// TestRepin: a download under way ends when the owner decides otherwise, and a node
// that is held takes nothing by itself; it is too late once init was asked.
func TestRepin(t *testing.T) {
	fetching := make(chan struct{})
	o := operate(t, func(o *operated, _ *Updater) {
		o.fetch = func(ctx context.Context) error {
			close(fetching)
			<-ctx.Done()
			return ctx.Err()
		}
	})
	<-fetching
	if v, err := o.Apply(t.Context(), "me", names.Digest{}, nil); err != nil || v.Manifest().Version != 7 {
		t.Errorf("what is taken already: %v", err)
	}
	if err := o.Repin(t.Context(), func() error { return errors.New("the disk is full") }); err == nil {
		t.Error("a hold that cannot be kept")
	}
	hold := func(on bool) func() error {
		return func() error { o.mu.Lock(); defer o.mu.Unlock(); o.pinned = on; return nil }
	}
	if err := o.Repin(t.Context(), hold(true)); err != nil {
		t.Fatal(err)
	}
	o.until(t, "the end of the download", func(u statefile.Update) bool {
		return u.Last != nil && u.Last.Result == "failed" && strings.Contains(u.Last.Reason, "decided otherwise") && u.Waiting != nil
	})
	o.mu.Lock()
	o.fetch = nil
	o.mu.Unlock()
	if err := o.Repin(t.Context(), hold(false)); err != nil {
		t.Fatal(err)
	}
	if err := <-o.ended; err != nil || len(o.took) != 2 {
		t.Errorf("%v, took %d", err, o.took)
	}
	if err := o.Repin(t.Context(), hold(true)); !errors.Is(err, error(errRestarting)) {
		t.Errorf("after the jump: %v", err)
	}
}

// TestDrainIsUndone: what runs here is given time before the jump, and goes on when
// there is none.
func TestDrainIsUndone(t *testing.T) {
	undone := make(chan struct{})
	o := operate(t, func(o *operated, u *Updater) {
		u.Drain = func(context.Context) func() { return sync.OnceFunc(func() { close(undone) }) }
		u.Jump = func(context.Context, trust.Verified) error { return errors.New("init will not") }
	})
	<-undone
	o.until(t, "the failure", func(u statefile.Update) bool {
		return u.Last != nil && strings.Contains(u.Last.Reason, "init will not")
	})
	if err := o.Repin(t.Context(), func() error { return nil }); err != nil {
		t.Errorf("a hold after a jump that was not: %v", err)
	}
}
