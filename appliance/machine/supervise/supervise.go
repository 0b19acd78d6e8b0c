// Package supervise keeps programs running: it starts services, starts each
// again when it ends, ever more slowly while it keeps ending, holds the last
// lines that each wrote, and stops them. As PID 1 it also reaps orphans,
// but no process that an exec.Cmd waits for.
package supervise

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Service is a program to keep running.
type Service struct {
	Name string
	Path string   // of the program
	Args []string // without the program's name
	Env  []string // all of its environment
	UID  uint32   // 0 is root, with all its capabilities; any other has none
	GID  uint32
	// Cgroup is the path of the control group it runs in; empty is that of the
	// program that starts it.
	Cgroup string
	// Files are opened for each start and handed on, as descriptors from 3 on. Where
	// one cannot be opened, /dev/null is in its place.
	Files []func() (*os.File, error)
}

// The times of a service's life, and the caps of what is held of its lines: a
// quarter of a MiB at most.
const (
	backoffFirst = 500 * time.Millisecond
	backoffMax   = 30 * time.Second
	steady       = time.Minute     // ran this long: the next restart is quick again
	grace        = 8 * time.Second // from SIGTERM to SIGKILL
	drainTime    = time.Second     // what is in the pipe is read that long after the end
	maxLine      = 1024            // bytes of one line; a longer one counts as several
	maxLines     = 256
)

// backoff is the pause before the next start of a service that ran for ran,
// when the pause before that start was last.
func backoff(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= steady {
		return backoffFirst
	}
	return min(2*last, backoffMax)
}

// Set runs services. Its methods may be called from several goroutines.
type Set struct {
	// Line is called for each line a service writes to stdout or stderr, and for
	// what the set itself reports about it. It must be set before Start.
	Line func(service, text string)

	mu       sync.Mutex // of services, and of what changes in each
	services []*running // in the order they were started

	// spawn is held for reading while a child is started and noted, for
	// writing while orphans are taken in, which must not take a child away.
	spawn sync.RWMutex
}

// Status is what a service is doing.
type Status struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid,omitempty"` // 0 while it does not run
	Started  time.Time `json:"started,omitzero"`
	Restarts int       `json:"restarts"`
	LastExit string    `json:"last_exit,omitempty"` // in words
}

type running struct {
	service Service
	stop    context.CancelFunc
	done    chan struct{}
	status  Status
	lines   []string // the last ones
}

// Start runs s until Stop. A name that runs already is refused.
func (set *Set) Start(s Service) error {
	set.mu.Lock()
	defer set.mu.Unlock()
	if _, err := set.find(s.Name); err == nil {
		return fmt.Errorf("%s runs already", s.Name)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{service: s, stop: stop, done: make(chan struct{}), status: Status{Name: s.Name}}
	set.services = append(set.services, r)
	go func() {
		defer close(r.done)
		set.keep(ctx, r)
	}()
	return nil
}

// find returns a service. The caller holds mu.
func (set *Set) find(name string) (*running, error) {
	for _, r := range set.services {
		if r.service.Name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("there is no service %s", name)
}

// keep starts the service, again and again, until ctx ends.
func (set *Set) keep(ctx context.Context, r *running) {
	var pause time.Duration
	for {
		started := time.Now()
		how := set.once(ctx, r)
		if ctx.Err() != nil {
			return
		}
		pause = backoff(pause, time.Since(started))
		set.say(r, fmt.Sprintf("%s after %s; starting again in %s", how, time.Since(started).Round(time.Millisecond), pause))
		set.mu.Lock()
		r.status.PID, r.status.Started, r.status.LastExit = 0, time.Time{}, how
		r.status.Restarts++
		set.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (set *Set) say(r *running, text string) {
	set.mu.Lock()
	if r.lines = append(r.lines, text); len(r.lines) > maxLines {
		r.lines = slices.Delete(r.lines, 0, 1)
	}
	set.mu.Unlock()
	set.Line(r.service.Name, text)
}

// Stop stops the services, all together, but for those whose names are given. A
// service that does not end within 8 seconds of SIGTERM is killed.
func (set *Set) Stop(spare ...string) {
	set.mu.Lock()
	all := set.services
	set.services = nil
	var group []*running
	for _, r := range all {
		if slices.Contains(spare, r.service.Name) {
			set.services = append(set.services, r)
		} else {
			group = append(group, r)
		}
	}
	set.mu.Unlock()
	for _, r := range group {
		r.stop()
	}
	for _, r := range group {
		<-r.done
	}
}

// Restart kills a service that no longer answers; it is started again as after
// any end.
func (set *Set) Restart(name string) error {
	set.mu.Lock()
	defer set.mu.Unlock()
	r, err := set.find(name)
	if err != nil {
		return err
	}
	if r.status.PID == 0 {
		return fmt.Errorf("%s does not run", name)
	}
	return syscall.Kill(r.status.PID, syscall.SIGKILL)
}

// Status returns every service's.
func (set *Set) Status() []Status {
	set.mu.Lock()
	defer set.mu.Unlock()
	var all []Status
	for _, r := range set.services {
		all = append(all, r.status)
	}
	return all
}

// Lines returns the last lines of a service, oldest first.
func (set *Set) Lines(name string) ([]string, error) {
	set.mu.Lock()
	defer set.mu.Unlock()
	r, err := set.find(name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(r.lines), nil
}

// Reap takes the exit status of every ended orphan, which is then gone. PID 1
// calls it on SIGCHLD. Children of the set itself are left to the exec.Cmd that
// waits for them.
func (set *Set) Reap() {
	set.spawn.Lock()
	defer set.spawn.Unlock()
	own := map[int]bool{}
	for _, s := range set.Status() {
		own[s.PID] = true
	}
	for _, pid := range zombies(os.Getpid()) {
		if !own[pid] {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // already gone is as good
		}
	}
}
