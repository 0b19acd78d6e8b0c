package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/linux"
)

// TestGuard: a step that fails or panics is a problem in words, and the next one
// is done. Each problem is saved before its line is on the console.
func TestGuard(t *testing.T) {
	var saved []string
	r := &report{saves: newQueue(), line: func(_ linux.Priority, _, text string) {
		if len(saved) == 0 || !strings.HasPrefix(text, "problem: "+saved[len(saved)-1][:5]) {
			t.Errorf("%q is on the console, saved are %q", text, saved)
		}
	}}
	if err := r.publish(func(problems []string, _ []statefile.Step) error { saved = problems; return nil }); err != nil {
		t.Fatal(err)
	}
	r.guard("first", func() error { panic("oh") })
	r.guard("second", func() error { return errors.New("no disk\x1b[2J") })
	want := []string{"first: a fault in init itself: oh", "second: no disk [2J"}
	if !slices.Equal(saved, want) {
		t.Errorf("problems %q, want %q", saved, want)
	}
	for range 10 * maxProblems {
		r.problem("second again")
	}
	if len(saved) != maxProblems {
		t.Errorf("%d problems", len(saved))
	}
	// A save that panics is an error, and the next one is made.
	if err := r.publish(func([]string, []statefile.Step) error { panic("oh") }); err == nil {
		t.Error("a panic was no error")
	}
	if err := r.publish(func([]string, []statefile.Step) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestSteps: the parts of the start are in boot.json when it is written next, so
// many and no more, and none lasts less than nothing.
func TestSteps(t *testing.T) {
	var saved []statefile.Step
	r := &report{saves: newQueue()}
	if err := r.publish(func(_ []string, steps []statefile.Step) error { saved = steps; return nil }); err != nil {
		t.Fatal(err)
	}
	r.took("kernel", 0)
	r.took("clock that went back", linux.Up()+time.Hour)
	if err := r.write(); err != nil || len(saved) != 2 {
		t.Fatalf("%+v, %v", saved, err)
	}
	if saved[0].Name != "kernel" || saved[0].Begin != 0 || saved[0].Length <= 0 || saved[1].Length != 0 {
		t.Errorf("%+v", saved)
	}
	for range 2 * maxSteps {
		r.took("again", 0)
	}
	if err := r.write(); err != nil || len(saved) != maxSteps {
		t.Errorf("%d steps, %v", len(saved), err)
	}
}
