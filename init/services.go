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
	plasmd := []string{"start", "--http", listen, "--state", runDir, "--root", rootFile, "--data", data, "--socket", plasmdSocket}
	return []supervise.Service{
		{Name: "plasmd", Rank: 1, Path: phase, Args: plasmd, UID: plasmdUID, GID: plasmdGID, Cgroup: group},
		{Name: "net", Rank: 0, Path: phase, Args: []string{"--state", runDir, "--resolv", resolvFile}}, // outlives whoever says goodbye
		{Name: "update", Rank: 1, Path: phase, Args: []string{"--state", runDir, "--root", rootFile}},
	}
}

// turn is how long a service has the processor to itself: until it listens or
// has told how it stands, and not longer. Three programs that start at once on
// one slow core are all up when the last is; one after the other, in the order
// they are waited for, each is up sooner.
const turn = 3 * time.Second

// started says whether a service is as far as the others wait for.
var started = map[string]func() bool{
	"plasmd": func() bool { return listens(plasmdAt) },
	"net":    func() bool { return exists(filepath.Join(runDir, statefile.NetFile)) },
}

// startServices starts the first service and, beside the rest of the boot, the
// others after it.
func (n *node) startServices() error {
	n.mu.Lock()
	all := table(n.options, n.boot.Data, n.plasmdGroup)
	n.mu.Unlock()
	err := n.startService(all[0])
	go n.guard(step{"services", func(n *node) error {
		for i, s := range all[1:] {
			waitFor(started[all[i].Name], turn)
			if err := n.startService(s); err != nil {
				return err
			}
		}
		return nil
	}})
	return err
}

// startService starts a service, unless the machine is ending: those that run
// are being stopped then.
func (n *node) startService(s supervise.Service) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ending {
		return nil
	}
	s.Env = environment
	return n.services.Start(s)
}

// waitFor waits until done, or for so long.
func waitFor(done func() bool, longest time.Duration) {
	for end := time.Now().Add(longest); !done() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// serviceLine carries a line of a service to the console. The ring has every
// line; the console, which may be a serial line that the kernel itself waits
// for, has no more than it can bear.
func (n *node) serviceLine(service, text string) {
	show, missed := n.limits.allow(service, time.Now())
	if missed > 0 {
		n.console.Line(linux.Warning, service, fmt.Sprintf("(%d lines were too many for the console)", missed))
	}
	if show {
		n.console.Line(linux.Notice, service, text)
	}
}

// The console takes a burst of lines from each service, and a steady rate.
const (
	lineBurst = 200
	lineRate  = 20 // a second
)

// limits is a bucket of lines for each service. The zero value is full.
type limits struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left   float64
	at     time.Time
	missed int
}

// allow says whether the next line of a service is shown, and how many before
// it were not.
func (l *limits) allow(service string, now time.Time) (show bool, missed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buckets == nil {
		l.buckets = map[string]*bucket{}
	}
	b := l.buckets[service]
	if b == nil {
		b = &bucket{left: lineBurst, at: now}
		l.buckets[service] = b
	}
	b.left = min(lineBurst, b.left+now.Sub(b.at).Seconds()*lineRate)
	b.at = now
	if b.left < 1 {
		b.missed++
		return false, 0
	}
	b.left--
	missed, b.missed = b.missed, 0
	return true, missed
}
