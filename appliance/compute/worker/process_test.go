package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
)

// loop is a module that never ends, least one that does nothing.
const (
	loop = "\x00asm\x01\x00\x00\x00" +
		"\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b"
	least = "\x00asm\x01\x00\x00\x00"
)

func start(t *testing.T) *Process {
	t.Helper()
	p, err := Start(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.End)
	return p
}

func seal(t *testing.T, text string) *sandbox.Sealed {
	t.Helper()
	s, err := sandbox.Seal("test", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// first is the first run of a module in a process.
func first(t *testing.T, module string) Run {
	t.Helper()
	r := Run{Args: []string{"x"}, MemoryMB: 1, Cores: 1, Module: seal(t, module)}
	p := start(t)
	code, end, err := p.Compile(t.Context(), r.Module)
	if err != nil || code == nil {
		t.Fatal(end, err)
	}
	t.Cleanup(func() { code.Close() })
	r.Code = code
	r.Streams = streams(t)
	return r
}

func streams(t *testing.T) *Streams {
	t.Helper()
	s, err := OpenStreams(nil, io.Discard, io.Discard, 1000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A process runs its module again and again, and no other.
func TestAProcessRunsItsModuleAgain(t *testing.T) {
	r, p := first(t, least), start(t)
	if walls := p.Walls(); len(walls) < 3 || walls[0] != "process" {
		t.Errorf("the walls are %q", walls)
	}
	module, code := r.Module, r.Code
	for range 3 {
		end, err := p.Run(t.Context(), r)
		if err != nil || end.Outcome != job.Exited || !end.Reusable || end.At.IsZero() || !p.Alive() {
			t.Fatalf("%+v, %v", end, err)
		}
		r.Module, r.Code, r.Streams = nil, nil, streams(t)
	}
	r.Module, r.Code = module, code
	if end, err := p.Run(t.Context(), r); err == nil || end.Reusable {
		t.Errorf("a second module: %+v, %v", end, err)
	}
}

// Ending the context kills the process, whatever it does.
func TestARunThatIsEndedIsKilled(t *testing.T) {
	r, p := first(t, loop), start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the order may have gone out or not
	if end, err := p.Run(ctx, r); !errors.Is(err, context.Canceled) || end.Reusable || end.At.IsZero() {
		t.Errorf("%+v, %v", end, err)
	}
	p.End()
	if p.Alive() || !p.killed() {
		t.Errorf("it ended by itself: %v", p.exit)
	}
	if _, err := Start(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a process that is not waited for: %v", err)
	}
}

// Code of another processor is refused as such, and the input is there for the
// next process.
func TestStaleCodeKeepsTheInput(t *testing.T) {
	r := first(t, least)
	good := r.Code
	r.Code = seal(t, strings.Repeat("x", 100))
	var err error
	if r.Streams, err = OpenStreams(bytes.NewReader([]byte("input")), io.Discard, io.Discard, 1); err != nil {
		t.Fatal(err)
	}
	defer r.Streams.Close()
	if end, err := start(t).Run(t.Context(), r); !errors.Is(err, ErrStale) {
		t.Fatalf("%+v, %v", end, err)
	}
	r.Code = good
	if end, err := start(t).Run(t.Context(), r); err != nil || end.Outcome != job.Exited {
		t.Errorf("%+v, %v", end, err)
	}
}

// What is no module is refused by the process that compiles.
func TestCompileRefuses(t *testing.T) {
	code, _, err := start(t).Compile(t.Context(), seal(t, "MZ"))
	if code != nil || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not a WebAssembly module") {
		t.Error(err)
	}
}
