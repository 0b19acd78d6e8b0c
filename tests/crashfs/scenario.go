package crashfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// Scenario is code that keeps things on disk, and what it promises of them.
type Scenario struct {
	Name string
	// Slow is a scenario whose Check takes long: it has a tenth of the cuts.
	Slow bool
	// Before, when there is one, makes what is on the disk when Run begins.
	Before func(dir string) error
	// Run uses the code. It calls promise as soon as something must survive.
	Run func(dir string, promise func(string)) error
	// Check starts the code from what a power cut left, and returns an error when
	// it does not start, or a promise is broken.
	Check func(dir string, promised []string) error
}

// Recording is a Scenario that ran once, on a file system that remembers.
type Recording struct {
	Scenario
	fs    *FS
	first int // the first request of Run
}

// Record runs a scenario.
func (s Scenario) Record(forget Forget) (r *Recording, err error) {
	r = &Recording{Scenario: s, fs: New(forget)}
	dir, err := os.MkdirTemp("", "phase-crashfs-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	unmount, err := r.fs.Mount(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	if s.Before != nil {
		if err := s.Before(dir); err != nil {
			return nil, fmt.Errorf("%s: setting it up: %w", s.Name, err)
		}
	}
	r.fs.SyncAll()
	r.first = r.fs.Len()
	if err := s.Run(dir, r.fs.Mark); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return r, nil
}

// Requests is the number of things that Run asked of the file system: before and
// after each of them a power cut is another one.
func (r *Recording) Requests() int { return r.fs.Len() - r.first }

// Cut draws a power cut from a seed and checks what it leaves. The error says
// what the scenario did up to there, and what was left.
func (r *Recording) Cut(seed uint64) (err error) {
	draw := rand.New(rand.NewPCG(seed, 0x63757473))
	state := r.fs.Crash(r.first+draw.IntN(r.Requests()+1), draw)
	dir, err := os.MkdirTemp(scratch(), "phase-crash-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := state.Write(dir); err != nil {
		return fmt.Errorf("writing what a power cut leaves: %w", err)
	}
	if err := r.Check(dir, state.Marks); err != nil {
		return fmt.Errorf("%s, SEED=%d: %w\n%s%s", r.Name, seed, err, state, r.fs.History(state.Cut))
	}
	return nil
}

// scratch is a folder in memory, where there is one.
func scratch() string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		return memory
	}
	return ""
}
