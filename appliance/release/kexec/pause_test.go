package kexec

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/machine/linux"

	"golang.org/x/sys/unix"
)

// When memory is short services are paused; when that is not enough they are
// started again and nothing is loaded.
func TestPause(t *testing.T) {
	artifacts := contents()
	v := sign(t, artifacts, nil)
	for _, enough := range []bool{true, false} {
		k := &loader{}
		var asked []string
		o := machine(k, &asked)
		s, err := Stage(t.Context(), v, o)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, artifacts)
		s.options.Memory = func() (linux.Memory, error) {
			if enough && len(asked) > 0 {
				return linux.Memory{Total: 4 << 30, Available: 1 << 30}, nil
			}
			return linux.Memory{Total: 4 << 30, Available: 1 << 20}, nil
		}
		err = s.Load(t.Context())
		if got := strings.Join(asked, " "); enough && (err != nil || got != "pause") || !enough && (refusal.CodeOf(err) != refusal.Busy || got != "pause resume") {
			t.Errorf("enough %v: %v, asked to %s", enough, err, got)
		}
		if loaded := k.loads > 0; loaded != enough {
			t.Errorf("enough %v: loaded %v", enough, loaded)
		}
		// A kernel that will not be loaded after all brings them back too.
		if enough {
			continue
		}
		asked = nil
		s.options.Memory = func() (linux.Memory, error) {
			return linux.Memory{Total: 4 << 30, Available: int64(len(asked)) << 30}, nil
		}
		k.fail = errors.New("no")
		if err := s.Load(t.Context()); err == nil || strings.Join(asked, " ") != "pause resume" {
			t.Errorf("a load that fails: %v, asked to %q", err, asked)
		}
	}
}

// What the figures promised may not be there: then the services are paused, and
// it is tried once more.
func TestPauseWhenTheKernelHasNoMemory(t *testing.T) {
	artifacts := contents()
	for times, want := range map[int]string{0: "", 1: "pause", 2: "pause resume"} {
		k := &short{times: times}
		var asked []string
		s, err := Stage(t.Context(), sign(t, artifacts, nil), machine(k, &asked))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, artifacts)
		if err := s.Load(t.Context()); (err != nil) != (times == 2) || strings.Join(asked, " ") != want {
			t.Errorf("no memory %d times: %v, asked to %q, want %q", times, err, asked, want)
		}
	}
}

// short is a Loader that has no memory the first times.
type short struct {
	times int
}

func (s *short) Load(linux.Part, linux.Part, string) error {
	if s.times--; s.times >= 0 {
		return fmt.Errorf("kexec_load: %w", unix.ENOMEM)
	}
	return nil
}

// Enough for the load alone is not enough for the services beside it.
func TestPauseForComfort(t *testing.T) {
	artifacts := contents()
	for spare, want := range map[int64]string{comfort: "", comfort - 1: "pause", 0: "pause"} {
		var asked []string
		s, err := Stage(t.Context(), sign(t, artifacts, nil), machine(&loader{}, &asked))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, artifacts)
		s.options.Memory = func() (linux.Memory, error) {
			return linux.Memory{Total: 4 << 30, Available: NeedOf(s.sizes).Load + spare}, nil
		}
		if err := s.Load(t.Context()); err != nil || strings.Join(asked, " ") != want {
			t.Errorf("%d bytes more than the load needs: %v, asked to %q, want %q", spare, err, asked, want)
		}
	}
}
