package tasks

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// run runs a task for a test, and returns its end.
func run(t *testing.T, task Task) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- task.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func add(ctx context.Context, s *store.Store, r storetest.Release) error {
	return s.Add(ctx, r.Verified, r.Sources())
}

// lines passes on each line that is printed.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func TestHolding(t *testing.T) {
	signer := storetest.NewSigner(t)
	one, two := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes), signer.Release(t, "testing", "arm64", 8, storetest.Sizes)
	s, printed, goOn := store.New(), make(lines, 4), make(chan struct{})
	h := NewHolding(s, Source{
		Fill: func(ctx context.Context, into *store.Store, _ func([]store.Problem)) error {
			<-goOn
			return add(ctx, into, one)
		},
		Follow: func(ctx context.Context, _ func([]store.Problem)) {
			if err := add(ctx, s, two); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
		},
	}, printed)
	if !h.Loading() || h.Err() == nil {
		t.Error("it holds what it has not hashed")
	}
	stop := run(t, h)
	close(goOn)
	<-h.Ready()
	if h.Loading() || h.Err() != nil {
		t.Errorf("when it has hashed all: %v", h.Err())
	}
	want := map[string]bool{ // in either order: both may be there at the first look
		"holds release stable/x86_64 version 7 " + one.Digest().String() + "\n": true,
		"holds release testing/arm64 version 8 " + two.Digest().String() + "\n": true,
	}
	for range 2 {
		line := <-printed
		if !want[line] {
			t.Errorf("printed %q", line)
		}
		delete(want, line)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if list := instances(s, "testing", "arm64"); len(list) != 2 || list[0].Version != 8 || list[1].Version != 7 {
		t.Errorf("announced are %v", list)
	}
}

func TestHoldingThatFails(t *testing.T) {
	s, damaged := store.New(), errors.New("damaged")
	for name, c := range map[string]struct {
		source Source
		says   string
	}{
		"an error":  {Source{Fill: func(context.Context, *store.Store, func([]store.Problem)) error { return damaged }}, "damaged"},
		"a promise": {Source{Promise: "nothing is held", Fill: func(context.Context, *store.Store, func([]store.Problem)) error { return nil }}, "nothing is held"},
		"a problem": {Source{Promise: "nothing is held", Fill: func(_ context.Context, _ *store.Store, report func([]store.Problem)) error {
			report([]store.Problem{{Err: damaged}})
			return nil
		}}, "nothing is held; "},
	} {
		h := NewHolding(s, c.source, io.Discard)
		stop := run(t, h)
		<-h.Ready()
		if err := h.Err(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if got := len(h.Problems()); (got > 0) != (name == "a problem") {
			t.Errorf("%s: %d problems", name, got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}
