package main

import (
	"fmt"
	"sync"
	"time"

	"phase/appliance/boot"
	"phase/appliance/linux"
	"phase/appliance/supervise"
)

const phase = "/user/phase" // the one binary

var environment = []string{"PATH=/user", "HOME=/run/phase", "TMPDIR=/tmp"}

// table lists the services of a node, for the options of this boot, each before
// those that need it to say goodbye: they are stopped from the last to the first. data is plasmd's folder, or empty where nothing is kept;
// group is plasmd's control group, or empty where there is none.
func table(o boot.Options, data, group string) []supervise.Service {
	listen := "[::]:8080"
	if o.Mode == boot.Private {
		listen = "127.0.0.1:8080"
	}
	if data == "" {
		data = bootData
	}
	plasmd := []string{"start", "--http", listen, "--state", runDir, "--root", rootFile, "--data", data, "--socket", plasmdSocket}
	return []supervise.Service{
		{Name: "net", Path: phase, Args: []string{"--state", runDir, "--resolv", resolvFile}},
		{Name: "plasmd", Path: phase, Args: plasmd, UID: plasmdUID, GID: plasmdGID, Cgroup: group},
		{Name: "update", Path: phase, Args: []string{"--state", runDir, "--root", rootFile}},
	}
}

func (n *node) startServices() error {
	n.mu.Lock()
	data := n.boot.Data
	n.mu.Unlock()
	for _, s := range table(n.options, data, n.plasmdGroup) {
		s.Env = environment
		if err := n.services.Start(s); err != nil {
			return err
		}
	}
	return nil
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
