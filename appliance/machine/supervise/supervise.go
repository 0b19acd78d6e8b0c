// Package supervise keeps programs running: it starts the services of a table,
// starts each again when it ends, ever more slowly while it keeps ending, holds
// the last lines of what each said, and stops them in order. As PID 1 it also
// takes in orphans, without taking away what exec.Cmd waits for.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Service is one line of the table.
type Service struct {
	Name string
	Path string   // of the program
	Args []string // without the program's name
	Env  []string // all of its environment
	Dir  string   // where it runs; empty is /
	UID  uint32   // 0 is root, with all its capabilities; any other has none
	GID  uint32
	// Rank orders the end: services of a higher one are stopped before those of
	// a lower one, which they may need to say goodbye.
	Rank int
	// Cgroup is the path of the control group it runs in; empty is that of
	// whoever starts it.
	Cgroup string
}

// The times of a service's life.
const (
	backoffFirst = 500 * time.Millisecond
	backoffMax   = 30 * time.Second
	steady       = time.Minute     // ran this long: the next restart is quick again
	grace        = 8 * time.Second // from SIGTERM to SIGKILL
	lastWords    = time.Second     // what is in the pipe is read that long after the end
)

// Backoff is the pause before the next start of a service that ran for ran,
// when the pause before that start was last.
func Backoff(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= steady {
		return backoffFirst
	}
	return min(2*last, backoffMax)
}

// Set runs services. Its methods may be called from several goroutines.
type Set struct {
	// Line is called for each line a service says on stdout or stderr, and for
	// what the set itself has to say about it. It must be set before Start.
	Line func(service, text string)

	mu       sync.Mutex
	services []*running // by rank, and within one in the order they were started

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
	ring    Ring
	stop    context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex
	status Status
}

// Start runs s until Stop. A name that runs already is refused.
func (set *Set) Start(s Service) error {
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, r := range set.services {
		if r.service.Name == s.Name {
			return fmt.Errorf("%s runs already", s.Name)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{service: s, stop: stop, done: make(chan struct{}), status: Status{Name: s.Name}}
	at := len(set.services)
	for at > 0 && set.services[at-1].service.Rank > s.Rank {
		at--
	}
	set.services = slices.Insert(set.services, at, r)
	go func() {
		defer close(r.done)
		set.keep(ctx, r)
	}()
	return nil
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
		pause = Backoff(pause, time.Since(started))
		set.say(r, fmt.Sprintf("%s after %s; starting again in %s", how, time.Since(started).Round(time.Millisecond), pause))
		r.mu.Lock()
		r.status.PID, r.status.Started, r.status.LastExit = 0, time.Time{}, how
		r.status.Restarts++
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// once runs the service to its end and says how it ended.
func (set *Set) once(ctx context.Context, r *running) string {
	s := r.service
	cmd := exec.CommandContext(ctx, s.Path, s.Args...)
	cmd.Args[0] = s.Name // the multi-call binary goes by its name
	cmd.Env = s.Env
	cmd.Dir = s.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.GID}
	}
	if s.Cgroup != "" {
		group, err := os.Open(s.Cgroup)
		if err != nil {
			return fmt.Sprintf("could not be started (%v)", err)
		}
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace

	// A pipe of our own, not exec's: its Wait would wait for every worker that
	// still holds the pipe, and we kill those only after it.
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Sprintf("could not be started (%v)", err)
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write

	set.spawn.RLock()
	err = cmd.Start()
	if err == nil {
		r.mu.Lock()
		r.status.PID, r.status.Started = cmd.Process.Pid, time.Now()
		r.mu.Unlock()
	}
	set.spawn.RUnlock()
	write.Close()
	if err != nil {
		return fmt.Sprintf("could not be started (%v)", err)
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		out := &lineWriter{line: func(text string) { set.say(r, text) }}
		_, _ = io.Copy(out, read) // ends with the last writer, or when read is closed
		out.flush()
	}()
	err = cmd.Wait()
	// What it started itself must not outlive it, nor the memory it holds; it
	// leads a session and so a process group of its own. Workers of jobs, which
	// lead their own, die with it by themselves.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // ESRCH: nobody is left
	set.Reap()
	select {
	case <-said:
	case <-time.After(lastWords):
		// Somebody who left the process group holds the pipe.
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "ended by itself"
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled():
		return fmt.Sprintf("was killed by signal %d (%s)", exit.Sys().(syscall.WaitStatus).Signal(), exit.Sys().(syscall.WaitStatus).Signal())
	case errors.As(err, &exit):
		return fmt.Sprintf("ended with exit code %d", exit.ExitCode())
	default:
		return fmt.Sprintf("ended (%v)", err)
	}
}

func (set *Set) say(r *running, text string) {
	r.ring.Add(text)
	set.Line(r.service.Name, text)
}

// Stop stops the services: those of the highest rank first, all of one rank
// together. The names given are spared. A service that does not end within 8
// seconds of SIGTERM is killed.
func (set *Set) Stop(spare ...string) {
	for {
		group := set.takeHighest(spare)
		if len(group) == 0 {
			return
		}
		for _, r := range group {
			r.stop()
		}
		for _, r := range group {
			<-r.done
		}
	}
}

// takeHighest takes out the services of the highest rank there is.
func (set *Set) takeHighest(spare []string) (group []*running) {
	set.mu.Lock()
	defer set.mu.Unlock()
	for _, r := range slices.Backward(set.services) { // they are in the order of their ranks
		if !slices.Contains(spare, r.service.Name) && (len(group) == 0 || r.service.Rank == group[0].service.Rank) {
			group = append(group, r)
		}
	}
	set.services = slices.DeleteFunc(set.services, func(r *running) bool { return slices.Contains(group, r) })
	return group
}

// Restart kills a service that no longer answers; it is started again as after
// any end.
func (set *Set) Restart(name string) error {
	for _, r := range set.all() {
		if r.service.Name != name {
			continue
		}
		r.mu.Lock()
		pid := r.status.PID
		r.mu.Unlock()
		if pid == 0 {
			return fmt.Errorf("%s does not run", name)
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return fmt.Errorf("there is no service %s", name)
}

func (set *Set) all() []*running {
	set.mu.Lock()
	defer set.mu.Unlock()
	return append([]*running(nil), set.services...)
}

// Status returns every service's.
func (set *Set) Status() []Status {
	var all []Status
	for _, r := range set.all() {
		r.mu.Lock()
		all = append(all, r.status)
		r.mu.Unlock()
	}
	return all
}

// Lines returns the last lines of a service, oldest first.
func (set *Set) Lines(name string) ([]string, error) {
	for _, r := range set.all() {
		if r.service.Name == name {
			return r.ring.Lines(), nil
		}
	}
	return nil, fmt.Errorf("there is no service %s", name)
}

// Reap takes in every ended orphan. PID 1 calls it on SIGCHLD. Children of the
// set itself are left to whoever waits for them.
func (set *Set) Reap() {
	set.spawn.Lock()
	defer set.spawn.Unlock()
	own := map[int]bool{}
	for _, r := range set.all() {
		r.mu.Lock()
		own[r.status.PID] = true
		r.mu.Unlock()
	}
	for _, pid := range zombies(os.Getpid()) {
		if !own[pid] {
			var status syscall.WaitStatus
			_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil) // already gone is as good
		}
	}
}

// lineWriter cuts a stream into lines of at most MaxLine bytes.
type lineWriter struct {
	line func(string)
	rest []byte
}

var _ io.Writer = (*lineWriter)(nil)

func (w *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' || len(w.rest) == MaxLine {
			w.flush()
		}
		if c != '\n' {
			w.rest = append(w.rest, c)
		}
	}
	return len(p), nil
}

func (w *lineWriter) flush() {
	if len(w.rest) > 0 {
		w.line(string(w.rest))
	}
	w.rest = w.rest[:0]
}
