package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/machine/supervise"
)

const phase = "/user/phase" // the one binary

var environment = []string{"PATH=/user", "HOME=/run/phase", "TMPDIR=/tmp"}

// table lists the services of a node, for the options of this boot, in the order
// they are started in. data is plasmd's folder, or empty where nothing is kept;
// group is plasmd's control group, or empty where there is none.
func table(o settings.Options, data, group string) []supervise.Service {
	listen := "[::]:8080"
	if o.Mode == settings.Private {
		listen = "127.0.0.1:8080"
	}
	if data == "" {
		data = bootData
	}
	plasmd := []string{"start", "--http", listen, "--state", runDir, "--root", rootFile, "--data", data, "--socket", plasmdSocket, "--kernel-log", "3", "--confine"}
	for _, address := range o.Bootstrap {
		plasmd = append(plasmd, "--bootstrap", address)
	}
	if o.Accept != "" {
		plasmd = append(plasmd, "--accept", o.Accept)
	}
	if o.Syslog != "" {
		plasmd = append(plasmd, "--syslog", o.Syslog)
	}
	return []supervise.Service{
		{
			Name: "plasmd", Path: phase, Args: plasmd, Env: environment, UID: plasmdUID, GID: plasmdGID, Cgroup: group,
			// The owner of the node reads its log through plasmd, which may not open it.
			Files: []func() (*os.File, error){linux.OpenLog},
		},
		{Name: carrier, Path: phase, Args: []string{"--state", runDir, "--resolv", resolvFile, "--rescan"}, Env: environment},
		{Name: "update", Path: phase, Args: []string{"--state", runDir, "--root", rootFile, "--socket", plasmdSocket, "--confine"}, Env: environment},
	}
}

// turn is the longest a service has the processor to itself, until it listens or
// has written its state. Three programs that start at once on
// one slow core are all up when the last is; one after the other, in the order
// they are waited for, each is up sooner.
const turn = 3 * time.Second

// started says whether a service is as far as the others wait for.
var started = map[string]func() bool{
	"plasmd": func() bool { return listens(plasmdAt) },
	"net":    func() bool { return exists(filepath.Join(runDir, statefile.NetFile)) },
}

// services are the programs that init keeps running.
type services struct {
	report *report
	clock  clock
	set    supervise.Set
	limits limits

	mu       sync.Mutex
	table    []supervise.Service // all of them, in the order they are started in
	stopping bool                // for good: the machine is ending
	unpause  *time.Timer         // set while they are paused
}

func newServices(r *report, c clock) *services {
	s := &services{report: r, clock: c, limits: limits{spent: map[string]bucket{}}}
	s.set.Line = s.line
	return s
}

func (n *node) startServices() error {
	return n.services.start(table(n.options, n.data, n.plasmdGroup))
}

// start starts the first service and, beside the rest of the boot, the others
// after it.
func (s *services) start(table []supervise.Service) error {
	s.mu.Lock()
	s.table = table
	s.mu.Unlock()
	begin := linux.Up()
	err := s.startOne(table[0])
	go s.report.guard("services", func() error {
		for i, next := range table[1:] {
			waitFor(s.clock, turn, started[table[i].Name])
			s.report.took(table[i].Name+" starts", begin)
			begin = linux.Up()
			if err := s.startOne(next); err != nil {
				return err
			}
		}
		return s.report.write()
	})
	return err
}

// begun says whether the services were started.
func (s *services) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table != nil
}

// startOne starts a service, unless the machine is ending: those that run are
// being stopped then.
func (s *services) startOne(one supervise.Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	return s.set.Start(one)
}

// carrier is the service that the others send their last messages over.
const carrier = "net"

// stop stops the services for good. The carrier runs on: it holds nothing that
// must come to rest, and the last to serve is heard to the end.
func (s *services) stop() {
	s.mu.Lock()
	s.stopping = true
	if s.unpause != nil {
		s.unpause.Stop()
	}
	s.mu.Unlock()
	s.set.Stop(carrier)
}

// pauseTime is how long services may be paused: the program that paused them
// may have died meanwhile.
const pauseTime = 3 * time.Minute

// pause stops every service but one, so that their memory can hold a kernel.
// They come back when asked for, or by themselves after a while.
func (s *services) pause(spare string) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return fmt.Errorf("this machine is stopping")
	}
	if s.unpause == nil {
		s.unpause = time.AfterFunc(pauseTime, func() { s.report.guard("services", s.resume) })
	}
	s.mu.Unlock()
	s.report.say("pausing the services to free their memory")
	s.set.Stop(spare, carrier)
	s.set.Stop(spare)
	return linux.DropCaches()
}

// resume starts the services that were paused.
func (s *services) resume() error {
	s.mu.Lock()
	if s.stopping || s.unpause == nil {
		s.mu.Unlock()
		return fmt.Errorf("the services are not paused")
	}
	s.unpause.Stop()
	s.unpause = nil
	table := s.table
	s.mu.Unlock()
	running := map[string]bool{}
	for _, one := range s.set.Status() {
		running[one.Name] = true
	}
	s.report.say("starting the services again")
	for _, one := range table {
		if !running[one.Name] {
			if err := s.startOne(one); err != nil {
				return err
			}
		}
	}
	return nil
}

// down names a service that does not run; empty when all do.
func (s *services) down() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	running := map[string]bool{}
	for _, one := range s.set.Status() {
		running[one.Name] = one.PID != 0
	}
	for _, one := range s.table {
		if !running[one.Name] {
			return one.Name
		}
	}
	return ""
}

// looping names a service that was started again and again; empty when none was.
func (s *services) looping() string {
	for _, one := range s.set.Status() {
		if one.Restarts >= maxRestarts {
			return one.Name
		}
	}
	return ""
}

// waitFor waits until done, or for so long.
func waitFor(c clock, longest time.Duration, done func() bool) {
	for end := c.Now().Add(longest); !done() && c.Now().Before(end); {
		<-c.After(50 * time.Millisecond)
	}
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// line carries a line of a service to the console, which may be a serial line that
// the kernel itself waits for: it is given no more than it can bear. The set holds
// the other lines too.
func (s *services) line(service, text string) {
	show, missed := s.limits.allow(service, s.clock.Now())
	if missed > 0 {
		s.report.line(linux.Warning, service, fmt.Sprintf("(%d lines were too many for the console)", missed))
	}
	if show {
		s.report.line(linux.Notice, service, text)
	}
}

// The console takes a burst of lines from each service, and a steady rate.
const (
	lineBurst = 200
	lineRate  = 20 // a second
)

// limits counts the lines of each service.
type limits struct {
	mu    sync.Mutex
	spent map[string]bucket
}

// bucket is full when nothing is spent of it, as at first.
type bucket struct {
	spent  float64 // lines
	at     time.Time
	missed int
}

// allow says whether the next line of a service is shown, and how many before
// it were not.
func (l *limits) allow(service string, now time.Time) (show bool, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.spent[service]
	b.spent = max(0, b.spent-now.Sub(b.at).Seconds()*lineRate)
	b.at = now
	if show = b.spent <= lineBurst-1; show {
		missed = b.missed
		b.spent, b.missed = b.spent+1, 0
	} else {
		b.missed++
	}
	l.spent[service] = b
	return show, missed
}
