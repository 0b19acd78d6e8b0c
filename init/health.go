package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"

	"phase/appliance/release/trial"
)

const (
	// plasmdAt is where plasmd answers in every mode.
	plasmdAt = "127.0.0.1:8080"

	trialTime     = 4 * time.Minute  // for a release on trial to become healthy
	lastTime      = 10 * time.Minute // for a release that is healthy to be no trial any more
	firstProbe    = 100 * time.Millisecond
	probeEvery    = 15 * time.Second // once plasmd has answered
	probeTime     = 10 * time.Second // for an answer
	maxUnanswered = 4                // probes without an answer: plasmd hangs
)

// clock is the time of this machine, or that of a test.
type clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// health asks plasmd how it is, for as long as the machine is up. The first good
// answer ends a trial well. A plasmd that answered once and then does not for a
// minute is started again.
type health struct {
	report  *report
	trials  *trials
	clock   clock
	started time.Time                      // when init started
	probe   func() (status int, err error) // asks plasmd
	restart func() error                   // starts plasmd again
	giveUp  func()                         // ends a trial that did not become healthy

	good, lasted bool
	unanswered   int // probes in a row without an answer
}

// check asks once and returns how long to wait before the next time.
func (h *health) check() time.Duration {
	switch status, err := h.probe(); {
	case err == nil && status == 200 && !h.good:
		h.good, h.unanswered = true, 0
		h.report.say("plasmd answers, %.1f s after the kernel started", trial.Up().Seconds())
		h.trials.cameUp()
	case err == nil:
		h.unanswered = 0
	case h.good:
		if h.unanswered++; h.unanswered == maxUnanswered {
			h.unanswered = 0
			h.report.problem("plasmd has not answered for %s (%v); it is started again", maxUnanswered*probeEvery, err)
			if err := h.restart(); err != nil {
				h.report.problem("%v", err)
			}
		}
	}
	up := h.clock.Now().Sub(h.started)
	if h.good && !h.lasted && up > lastTime {
		h.lasted = true
		h.trials.lasted()
	}
	if !h.good && up <= trialTime {
		return firstProbe
	}
	if !h.good && !h.trials.running.IsZero() {
		h.report.problem("release %s did not become healthy in %s; restarting into the release on the disk", h.trials.running, trialTime)
		h.giveUp()
	}
	return probeEvery
}

// probe asks for /health. It speaks HTTP by hand, since net/http would make up
// half of init.
func probe(address string, patience time.Duration) (status int, err error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(conn, "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 1024)).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return parseStatus(line)
}

// parseStatus reads the first line of an HTTP answer (RFC 9112, section 4).
func parseStatus(line string) (int, error) {
	var minor, status int
	if n, err := fmt.Sscanf(line, "HTTP/1.%1d %3d", &minor, &status); n != 2 || err != nil || status < 100 {
		return 0, fmt.Errorf("the answer is not HTTP")
	}
	return status, nil
}
