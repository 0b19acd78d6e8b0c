package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/release/trial"
)

const (
	// plasmdAt is where plasmd answers in every mode.
	plasmdAt = "127.0.0.1:8080"

	trialTime     = 75 * time.Second // for a release on trial to become healthy
	trialMost     = 4 * time.Minute  // the same on a slow machine
	trialTimes    = 20               // times as long as the kernel took to start init
	stay          = 10 * time.Second // all is well without a break, for a release to be good
	lastTime      = 10 * time.Minute // for a release that is good to have lasted
	firstProbe    = 100 * time.Millisecond
	stayProbe     = time.Second
	probeEvery    = 15 * time.Second // once the release is good
	probeTime     = 10 * time.Second // for an answer
	maxUnanswered = 4                // probes without an answer: plasmd hangs
	maxRestarts   = 3                // of a service on trial
)

// clock is the time of this machine, or that of a test.
type clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

type wallClock struct{}

func (wallClock) Now() time.Time                         { return time.Now() }
func (wallClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// health asks plasmd how it is, for as long as the machine is up, and decides
// whether a release on trial stays: once plasmd answers and nothing is missing that
// the machine had before, for a while without a break. A release that does not get
// there in time is ended. A plasmd that answered once and then does not for a
// minute is started again.
type health struct {
	report  *report
	trials  *trials
	clock   clock
	started time.Time                      // when init started
	begun   time.Duration                  // how long the machine had been up when it began to ask
	time    time.Duration                  // for a release on trial to become healthy
	probe   func() (status int, err error) // asks plasmd
	missing func(trial.Expect) string      // what is not as it must be, in words; empty when all is
	looping func() string                  // the service that ends again and again; empty when none does
	restart func() error                   // starts plasmd again
	giveUp  func()                         // ends a trial that did not become healthy
	note    func(lasted bool)              // keeps what the machine has, with a good release

	answered, good, lasted bool
	well                   time.Time // since when all is well; zero when it is not
	unanswered             int       // probes in a row without an answer
}

// check asks once and returns how long to wait before the next time.
func (h *health) check() time.Duration {
	status, err := h.probe()
	now := h.clock.Now()
	if err != nil {
		h.noAnswer(err)
	} else {
		h.unanswered = 0
		if status == 200 && !h.answered {
			h.answered = true
			h.report.say("plasmd answers, %.1f s after the kernel started", trial.Up().Seconds())
			h.report.took(statefile.ServingStep, h.begun)
			_ = h.report.write() // the line is on the console in any case
			h.trials.cameUp()
		}
	}
	if h.good {
		if !h.lasted && now.Sub(h.started) > lastTime {
			h.lasted = true
			h.trials.lasted()
		}
		if status == 200 {
			h.note(h.lasted)
		}
		return probeEvery
	}
	return h.decide(now, h.why(status, err))
}

// why says what keeps the running release from being good; empty when nothing does.
func (h *health) why(status int, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("plasmd does not answer (%v)", err)
	case status != 200:
		return fmt.Sprintf("plasmd is not well (status %d)", status)
	}
	return h.missing(h.trials.expected())
}

// decide keeps the release, waits, or ends its trial.
func (h *health) decide(now time.Time, why string) time.Duration {
	if why != "" {
		h.well = time.Time{}
	} else if h.well.IsZero() {
		h.well = now
	}
	onTrial := h.trials.onTrial()
	switch up := now.Sub(h.started); {
	case why == "" && now.Sub(h.well) >= stay, why == "" && !onTrial:
		h.good = true
		h.trials.stays()
		return probeEvery
	case !onTrial:
		if up > h.time {
			return probeEvery
		}
		return firstProbe
	case h.looping() != "":
		h.end(h.looping() + " ends again and again")
	case up > h.time && why != "":
		h.end(fmt.Sprintf("not healthy in %s: %s", h.time, why))
	}
	if h.answered {
		return stayProbe
	}
	return firstProbe
}

// end ends the trial of the running release, and says why.
func (h *health) end(why string) {
	h.report.problem("release %s: %s; restarting into the last good release", h.trials.running, why)
	h.trials.ended(why)
	h.giveUp()
}

// noAnswer starts a plasmd that hangs again.
func (h *health) noAnswer(err error) {
	if !h.good {
		return
	}
	if h.unanswered++; h.unanswered == maxUnanswered {
		h.unanswered = 0
		h.report.problem("plasmd has not answered for %s (%v); it is started again", maxUnanswered*probeEvery, err)
		if err := h.restart(); err != nil {
			h.report.problem("%v", err)
		}
	}
}

// probe asks for /health.
func probe(address string, patience time.Duration) (status int, err error) {
	status, _, err = askPlasmd(address, "/health", patience)
	return status, err
}

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 1 << 20

// askPlasmd asks plasmd for a path and returns the body of its answer. It speaks HTTP by
// hand, since net/http would make up half of init.
func askPlasmd(address, path string, patience time.Duration) (status int, body []byte, err error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"); err != nil {
		return 0, nil, err
	}
	r := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, nil, err
	}
	if status, err = parseStatus(line); err != nil {
		return 0, nil, err
	}
	for line != "\r\n" { // the header
		if line, err = r.ReadString('\n'); err != nil {
			return status, nil, nil // an answer without a body
		}
	}
	body, err = io.ReadAll(r)
	return status, body, err
}

// parseStatus reads the first line of an HTTP answer (RFC 9112, section 4).
func parseStatus(line string) (int, error) {
	var minor, status int
	if n, err := fmt.Sscanf(line, "HTTP/1.%1d %3d", &minor, &status); n != 2 || err != nil || status < 100 {
		return 0, fmt.Errorf("the answer is not HTTP")
	}
	return status, nil
}
