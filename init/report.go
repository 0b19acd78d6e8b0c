package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/linux"
)

// report is what init has to say: lines on the console, and the problems that
// boot.json lists.
type report struct {
	line  func(p linux.Priority, name, text string) // writes to the console
	saves queue

	mu       sync.Mutex
	problems []string
	steps    []statefile.Step
	save     func(problems []string, steps []statefile.Step) error // writes boot.json; nil until it is published
}

// say writes a line of init's own to the console.
func (r *report) say(format string, args ...any) {
	r.line(linux.Notice, "init", fmt.Sprintf(format, args...))
}

const maxProblems = 100 // in boot.json

// problem reports what is not as it should be: on the console, and in boot.json
// for /status.
func (r *report) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, linux.Record("init", text)[len("init: "):])
	}
	r.mu.Unlock()
	_ = r.write() // its own error would be one more problem, and lead here again
	// Last: a reader of the line finds the problem in /status.
	r.line(linux.Warning, "init", "problem: "+text)
}

const maxSteps = 64 // in boot.json

// took notes a part of the start that began at a time since the kernel started,
// and ends now. It is in boot.json once that is written again.
func (r *report) took(name string, begin time.Duration) {
	length := max(0, linux.Up()-begin)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.steps) < maxSteps {
		r.steps = append(r.steps, statefile.Step{Name: name, Begin: seconds(begin), Length: seconds(length)})
	}
}

// seconds to the millisecond: no clock of a start is better than that.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// publish writes boot.json by calling save, now and after each new problem.
func (r *report) publish(save func(problems []string, steps []statefile.Step) error) error {
	r.mu.Lock()
	r.save = save
	r.mu.Unlock()
	return r.write()
}

func (r *report) write() error {
	return r.saves.do(func() error {
		r.mu.Lock()
		save, problems, steps := r.save, slices.Clone(r.problems), slices.Clone(r.steps)
		r.mu.Unlock()
		if save == nil {
			return nil
		}
		return save(problems, steps)
	})
}

// guard does a step; its error, or a panic in it, is reported as a problem.
func (r *report) guard(name string, do func() error) {
	if err := recovered(do); err != nil {
		r.problem("%s: %v", name, err)
	}
}

// recovered calls f and returns a panic in it as an error.
func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault in init itself: %v", p)
		}
	}()
	return f()
}

// queue does one thing after the other in a goroutine of its own. What writes
// to a disk is done in one: a disk that hangs then holds up those who wait for
// it, and no lock that anybody else needs.
type queue chan func()

func newQueue() queue {
	q := make(queue)
	go func() {
		for f := range q {
			f()
		}
	}()
	return q
}

// do returns the error of f once it was f's turn.
func (q queue) do(f func() error) error {
	done := make(chan error, 1)
	q <- func() { done <- recovered(f) }
	return <-done
}
