package main

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/machine/control"
	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
	"phase/appliance/release/trial"
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
	find(o, "", "net")
	find(o, "", "update")
	// net outlives whoever says goodbye, and whoever waits for another is
	// started after it.
	all := table(o, "", "")
	for i, s := range all {
		if s.Name != "net" && s.Rank <= 0 || s.Name == "net" && s.Rank != 0 {
			t.Errorf("%s has rank %d", s.Name, s.Rank)
		}
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
	waitFor(func() bool { asked++; return asked > 2 && listens(l.Addr().String()) }, time.Minute)
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	waitFor(func() bool { return false }, time.Millisecond) // a service that never comes holds nobody up
	l.Close()
	if listens(l.Addr().String()) {
		t.Error("it listens after it was closed")
	}
}

func TestLimits(t *testing.T) {
	var l limits
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

func TestProbe(t *testing.T) {
	for answer, want := range map[string]int{
		"HTTP/1.0 200 OK\r\n\r\n": 200, "HTTP/1.1 503 Service Unavailable\r\n": 503,
		"": 0, "HTTP/1.1 2": 0, "SSH-2.0-x\r\n": 0, "HTTP/1.1 abc\r\n": 0, "HTTP/2.0 200 OK\r\n": 0, strings.Repeat("x", 5000): 0,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 100)) // the question
			_, _ = conn.Write([]byte(answer))   // an impatient asker is gone by now
		}()
		got, err := probe(l.Addr().String(), time.Minute)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%.30q: %d, %v; want %d", answer, got, err, want)
		}
		l.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts in the kernel and never answers
	if _, err := probe(l.Addr().String(), 10*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a plasmd that hangs: %v", err)
	}
}

// node0 is a node whose kernel only takes notes.
func node0(k linux.Kernel) *node {
	n := newNode()
	n.kernel = k
	return n
}

func TestKexecRequest(t *testing.T) {
	digest := names.Sum([]byte("x")).String()
	ask := func(n *node, r control.Request) (control.Response, bool) {
		answer, after := n.handle(control.Peer{}, r)
		return answer, after != nil
	}
	k := &linux.Recorder{}
	n := node0(k)
	if a, jumps := ask(n, control.Request{Do: control.Kexec, Trial: digest}); a.OK || jumps || !strings.Contains(a.Error, "no kernel is loaded") {
		t.Errorf("without a kernel: %+v, jumps %v", a, jumps)
	}
	if err := k.Load(linux.Part{}, linux.Part{}, ""); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", "sha256:00"} {
		if a, jumps := ask(n, control.Request{Do: control.Kexec, Trial: bad}); a.OK || jumps {
			t.Errorf("trial %q: %+v", bad, a)
		}
	}
	if a, jumps := ask(n, control.Request{Do: control.Kexec, Trial: digest}); !a.OK || !jumps {
		t.Errorf("with a kernel: %+v", a)
	}
	// Tried twice by other boots: no third time, whoever asks.
	dir := t.TempDir()
	up := func() time.Duration { return time.Minute }
	for _, b := range []string{"one", "two"} {
		if err := trial.InFolder(dir, trial.Boot{ID: b, Up: up}).Begin(names.Sum([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	n.journal = trial.InFolder(dir, trial.Boot{ID: "three", Up: up})
	if a, jumps := ask(n, control.Request{Do: control.Kexec, Trial: digest}); a.OK || jumps || a.Code != "failed_before" {
		t.Errorf("a third try: %+v, jumps %v", a, jumps)
	}
	// Not counted, not jumped.
	n.journal = trial.InFolder(dir+"/gone", trial.Boot{ID: "three", Up: up})
	if a, jumps := ask(n, control.Request{Do: control.Kexec, Trial: digest}); a.OK || jumps {
		t.Errorf("without a place to count: %+v, jumps %v", a, jumps)
	}
	if slices.Contains(k.Calls(), "jump") {
		t.Error("it jumped while it was only asked")
	}
}

func TestResumeWithoutPause(t *testing.T) {
	n := node0(&linux.Recorder{})
	if a, _ := n.handle(control.Peer{}, control.Request{Do: control.Resume}); a.OK {
		t.Error("what was not paused was resumed")
	}
}

// A step that panics is a problem in words, and the next one is done.
// TestWithin: what hangs, as a call to a dead disk does, keeps nobody.
func TestWithin(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	if within(time.Millisecond, func() { <-hang }) {
		t.Error("what hangs came to an end")
	}
	if !within(time.Hour, func() {}) {
		t.Error("what ended did not")
	}
}

func TestGuard(t *testing.T) {
	n := node0(&linux.Recorder{})
	n.guard(step{"first", func(*node) error { panic("oh") }})
	n.guard(step{"second", func(*node) error { return errors.New("no disk\x1b[2J") }})
	want := []string{"first: a fault in init itself: oh", "second: no disk [2J"}
	if !slices.Equal(n.boot.Problems, want) {
		t.Errorf("problems %q, want %q", n.boot.Problems, want)
	}
	for range 10 * maxProblems {
		n.problem("again")
	}
	if len(n.boot.Problems) != maxProblems {
		t.Errorf("%d problems", len(n.boot.Problems))
	}
}

// FuzzParseStatus states: a status is a number of three digits.
func FuzzParseStatus(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		if status, err := parseStatus(line); err == nil && (status < 100 || status > 999) {
			t.Errorf("%q is %d", line, status)
		}
	})
}
