package tasks

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// until is a task that is ready at once and runs until its context ends.
func until(began chan<- string, name string) Task {
	return New(func(ctx context.Context, ready func()) error {
		began <- name
		ready()
		ready() // a second time is no fault
		<-ctx.Done()
		return nil
	})
}

func TestATaskWaitsForTheOneItComesAfter(t *testing.T) {
	began := make(chan string, 3)
	goOn := make(chan struct{})
	first := New(func(ctx context.Context, ready func()) error {
		began <- "first"
		<-goOn
		ready()
		<-ctx.Done()
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, []Row{{Name: "second", Task: until(began, "second"), After: first}, {Name: "left out"}, {Name: "first", Task: first}})
	}()
	if name := <-began; name != "first" {
		t.Fatalf("%s began", name)
	}
	close(goOn)
	if name := <-began; name != "second" {
		t.Fatalf("%s began", name)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheEndOfOneIsTheEndOfAll(t *testing.T) {
	broken := errors.New("broken")
	never := New(func(ctx context.Context, _ func()) error {
		<-ctx.Done()
		return nil
	})
	var ran atomic.Bool
	waits := New(func(context.Context, func()) error {
		ran.Store(true)
		return nil
	})
	for _, want := range []error{broken, nil} {
		ends := New(func(context.Context, func()) error { return want })
		err := Run(t.Context(), []Row{{Name: "one", Task: never}, {Name: "two", Task: ends}, {Name: "three", Task: waits, After: never}})
		if !errors.Is(err, want) || err != nil && err.Error() != "two: broken" {
			t.Errorf("it ended with %v, want %v", err, want)
		}
	}
	if ran.Load() {
		t.Error("a task was run before the one it comes after was ready")
	}
}

// TestTheLastOneEndsAfterTheOthers: whoever asks is answered until all else is done;
// and the end of the last one is the end of the others too.
func TestTheLastOneEndsAfterTheOthers(t *testing.T) {
	began := make(chan context.Context, 1)
	last := New(func(ctx context.Context, _ func()) error {
		began <- ctx
		<-ctx.Done()
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	other := New(func(ctx context.Context, _ func()) error {
		of := <-began
		cancel()
		<-ctx.Done()
		return of.Err() // of the last one, which must not be over
	})
	if err := Run(ctx, []Row{{Name: "last", Task: last, Last: true}, {Name: "other", Task: other}}); err != nil {
		t.Error(err)
	}

	broken := errors.New("broken")
	ends := New(func(context.Context, func()) error { return broken })
	if err := Run(t.Context(), []Row{{Name: "last", Task: ends, Last: true}, {Name: "other", Task: until(make(chan string, 1), "")}}); !errors.Is(err, broken) {
		t.Errorf("the end of the last one: %v", err)
	}
	if err := Run(ctx, []Row{{Name: "alone", Task: last, Last: true}}); err != nil { // asked to end already
		t.Error(err)
	}
}

func TestOnce(t *testing.T) {
	calls := 0
	once := Once(func() { calls++ })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- once.Run(ctx) }()
	<-once.Ready()
	cancel()
	if err := <-ended; err != nil || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestHTTP(t *testing.T) {
	l, err := Listen("[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	port := Port(l)
	if _, err := Listen(l.Addr().String()); err == nil || !strings.Contains(err.Error(), "choose another port") {
		t.Errorf("an address that is taken: %v", err)
	}
	if _, err := Listen("nonsense"); err == nil {
		t.Error("no address, and it listens")
	}
	serving := HTTP(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, []Row{{Name: "serving", Task: serving}}) }()
	<-serving.Ready()
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil || port == 0 {
		t.Fatal(port, err)
	}
	resp, err := http.Get("http://127.0.0.1:" + text)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A listener that fails ends the daemon, and the error says which it was.
func TestHTTPThatFails(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), []Row{{Name: "serving", Task: HTTP(l, http.NotFoundHandler(), time.Second)}})
	if !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "serving: ") {
		t.Errorf("it ended with %v", err)
	}
}

func TestProblems(t *testing.T) {
	var log strings.Builder
	p := NewProblems(&log)
	for range 2 * maxProblems {
		p.Add(errors.New("no disk"))
	}
	if list := p.List(); len(list) != maxProblems || list[0] != "no disk" {
		t.Errorf("%d are kept: %q", len(list), list[0])
	}
	if !strings.HasPrefix(log.String(), "problem: no disk\n") {
		t.Errorf("printed %q", log.String())
	}
}
