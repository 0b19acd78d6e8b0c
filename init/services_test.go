package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"phase/appliance/machine/settings"
)

func TestTable(t *testing.T) {
	find := func(o settings.Options, data, name string) []string {
		for _, s := range table(o, data, "") {
			if s.Name == name {
				if root := s.UID == 0; root == (name == "plasmd") {
					t.Errorf("%s runs as uid %d", name, s.UID)
				}
				return s.Args
			}
		}
		t.Fatalf("no %s", name)
		return nil
	}
	o := settings.Default()
	args := find(o, dataDir, "plasmd")
	if s := strings.Join(args, " "); !strings.Contains(s, "--http [::]:8080") || !strings.Contains(s, "--data "+dataDir) {
		t.Errorf("plasmd %s", s)
	}
	o.Mode = settings.Private
	// Private: nobody else can reach it, and nothing of it stays.
	if s := strings.Join(find(o, "", "plasmd"), " "); !strings.Contains(s, "--http 127.0.0.1:8080") || !strings.Contains(s, "--data "+bootData) {
		t.Errorf("plasmd in private %s", s)
	}
	if s := strings.Join(args, " "); !strings.Contains(s, "--kernel-log 3") || strings.Contains(s, "--syslog") {
		t.Errorf("plasmd %s", s)
	}
	o.Syslog = "udp://192.0.2.1:514"
	if s := strings.Join(find(o, "", "plasmd"), " "); !strings.Contains(s, "--syslog "+o.Syslog) {
		t.Errorf("plasmd %s", s)
	}
	find(o, "", "net")
	// It asks plasmd where plasmd listens.
	for _, name := range []string{"plasmd", "update"} {
		if s := strings.Join(find(o, "", name), " "); !strings.Contains(s, "--socket "+plasmdSocket) {
			t.Errorf("%s %s", name, s)
		}
	}
	// A service that waits for another is started after it.
	all := table(o, "", "")
	for i, s := range all {
		if last := i == len(all)-1; !last && started[s.Name] == nil {
			t.Errorf("nothing says when %s is as far as the others wait for", s.Name)
		}
	}
}

func TestWaitFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := 0
	waitFor(wallClock{}, time.Minute, func() bool { asked++; return asked > 2 && listens(l.Addr().String()) })
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	waited := &fakeClock{}
	waitFor(waited, time.Minute, func() bool { return false }) // a service that never comes holds up the others no longer
	if waited.now.Sub(time.Time{}) != time.Minute {
		t.Errorf("waited until %s", waited.now)
	}
	l.Close()
	if listens(l.Addr().String()) {
		t.Error("it listens after it was closed")
	}
}

func TestLimits(t *testing.T) {
	l := limits{spent: map[string]bucket{}}
	now := time.Unix(0, 0)
	shown := 0
	for range 10 * lineBurst {
		if ok, _ := l.allow("loud", now); ok {
			shown++
		}
	}
	if shown != lineBurst {
		t.Errorf("%d lines at once", shown)
	}
	if ok, _ := l.allow("quiet", now); !ok {
		t.Error("one service silences another")
	}
	ok, missed := l.allow("loud", now.Add(time.Second))
	if !ok || missed != 9*lineBurst {
		t.Errorf("a second later: shown %v, %d missed", ok, missed)
	}
	if _, missed = l.allow("loud", now.Add(2*time.Second)); missed != 0 {
		t.Errorf("%d missed are told twice", missed)
	}
}
