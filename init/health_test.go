package main

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/trial"
)

var onTrial = names.Sum([]byte("on trial"))

// watched is the health of a node whose plasmd answers as ask says.
func watched(n *testNode, ask func() (int, error)) *health {
	return &health{
		report: n.report, trials: n.trials, clock: n.time, started: n.time.Now(), time: trialTime, probe: ask,
		missing: func(trial.Expect) string { return "" },
		looping: func() string { return "" },
		restart: func() error { n.events.add("restart plasmd"); return nil },
		giveUp:  func() { n.events.add("give up") },
		note:    func(bool) {},
	}
}

// until checks again and again, for as long as the machine has been up less
// than d.
func (h *health) until(d time.Duration) {
	for h.clock.Now().Sub(h.started) < d {
		<-h.clock.After(h.check())
	}
}

var errNoAnswer = errors.New("no answer")

// TestGoodOnlyWhenHealthy: a release that is started is not good yet, one that
// answers with an error neither, nor one that is healthy for a moment only or lacks
// what the machine had before; one that stays healthy is good, once, and lasted after
// its time.
func TestGoodOnlyWhenHealthy(t *testing.T) {
	n := newTestNode(t)
	n.trials.running = onTrial
	n.journal.record.Expect.Network = true
	status, err, missing := 0, errNoAnswer, ""
	h := watched(n, func() (int, error) { return status, err })
	h.missing = func(e trial.Expect) string {
		if !e.Network || e.Peers {
			t.Errorf("it expects %+v", e)
		}
		return missing
	}
	h.until(10 * time.Second)
	n.events.want(t)
	status, err = 503, nil
	h.until(20 * time.Second)
	n.events.want(t)
	status = 200
	h.until(20*time.Second + stay - time.Second)
	came := "came " + onTrial.String()
	n.events.want(t, came)
	missing = "no address"
	h.check()
	missing = ""
	h.until(20*time.Second + 2*stay - 2*time.Second)
	n.events.want(t, came)
	h.until(lastTime)
	n.events.want(t, came, "end guard", "good "+onTrial.String())
	status = 503 // plasmd that is not well for a while takes nothing back
	h.until(2 * lastTime)
	n.events.want(t, came, "end guard", "good "+onTrial.String(), "lasted "+onTrial.String())
	if len(n.report.problems) != 0 {
		t.Errorf("problems %q", n.report.problems)
	}
}

// TestGoodStaysGood: a release that was good before is on trial no more: nothing
// that is missing ends it.
func TestGoodStaysGood(t *testing.T) {
	n := newTestNode(t)
	n.trials.running = onTrial
	n.journal.record.Good = true
	status := 503
	h := watched(n, func() (int, error) { return status, nil })
	h.looping = func() string { return "plasmd" }
	h.until(2 * trialTime)
	n.events.want(t)
	status = 200
	h.check()
	n.events.want(t, "came "+onTrial.String(), "end guard", "good "+onTrial.String())
}

// TestNoTrial: a release that is not on trial is counted nowhere, healthy or not.
func TestNoTrial(t *testing.T) {
	for _, status := range []int{200, 503} {
		n := newTestNode(t)
		watched(n, func() (int, error) { return status, nil }).until(2 * lastTime)
		n.events.want(t)
	}
}

// TestHungTrial: a release on trial that does not become healthy in time is given
// up with the reason, and never good.
func TestHungTrial(t *testing.T) {
	for want, c := range map[string]struct {
		status  int
		err     error
		missing string
	}{
		"plasmd does not answer (no answer)": {0, errNoAnswer, ""},
		"plasmd is not well (status 503)":    {503, nil, ""},
		"no address":                         {200, nil, "no address"},
	} {
		n := newTestNode(t)
		n.trials.running = onTrial
		h := watched(n, func() (int, error) { return c.status, c.err })
		h.missing = func(trial.Expect) string { return c.missing }
		var before []string
		if c.status == 200 {
			before = []string{"came " + onTrial.String()}
		}
		h.until(trialTime)
		n.events.want(t, before...)
		<-n.time.After(2 * time.Second)
		h.check()
		n.events.want(t, append(before, "ended: not healthy in 1m15s: "+want, "give up")...)
		if p := n.report.problems; len(p) != 1 || !strings.Contains(p[0], want) {
			t.Errorf("problems %q", p)
		}
	}
}

// TestLoopingTrial: a service that ends again and again ends the trial at once.
func TestLoopingTrial(t *testing.T) {
	n := newTestNode(t)
	n.trials.running = onTrial
	h := watched(n, func() (int, error) { return 200, nil })
	h.looping = func() string { return "update" }
	h.check()
	n.events.want(t, "came "+onTrial.String(), "ended: update ends again and again", "give up")
}

// TestHungPlasmd: a plasmd that answered once and then does not for a minute is
// started again; the trial stays good.
func TestHungPlasmd(t *testing.T) {
	n := newTestNode(t)
	n.trials.running = onTrial
	var err error
	h := watched(n, func() (int, error) { return 200, err })
	h.until(2 * stay)
	err = errNoAnswer
	for range maxUnanswered - 1 {
		h.check()
	}
	err = nil
	h.check() // an answer just in time
	err = errNoAnswer
	for range 2 * maxUnanswered {
		h.check()
	}
	n.events.want(t, "came "+onTrial.String(), "end guard", "good "+onTrial.String(), "restart plasmd", "restart plasmd")
}

// TestNotGood: what the journal did not take is no good release, and its tries
// are not crossed out later.
func TestNotGood(t *testing.T) {
	n := newTestNode(t)
	n.trials.running = onTrial
	n.journal.fail = errors.New("disk full")
	h := watched(n, func() (int, error) { return 200, nil })
	h.until(time.Minute)
	n.journal.fail = nil
	h.until(2 * lastTime)
	n.events.want(t, "came "+onTrial.String(), "end guard", "good "+onTrial.String())
	if p := n.report.problems; len(p) != 2 || !strings.HasPrefix(p[1], "marking release "+onTrial.String()+" as good: disk full") {
		t.Errorf("problems %q", p)
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

// FuzzParseStatus states: a status is a number of three digits.
func FuzzParseStatus(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		if status, err := parseStatus(line); err == nil && (status < 100 || status > 999) {
			t.Errorf("%q is %d", line, status)
		}
	})
}
