package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/machine/linux"
	"phase/appliance/release/trial"
)

const (
	// plasmdAt is where plasmd answers in every mode.
	plasmdAt = "127.0.0.1:8080"

	watchdogTime = time.Minute // without a pet
	petEvery     = 10 * time.Second
	jumpTime     = 2 * time.Minute  // for a jump, until the next init pets
	trialTime    = 4 * time.Minute  // for a release on trial to become healthy
	lastTime     = 10 * time.Minute // for a release that is healthy to be no trial any more
	probeEvery   = 15 * time.Second // once plasmd has answered
	deafAfter    = 4                // probes without an answer: plasmd hangs
)

// watchHealth asks plasmd how it is. The first good answer ends a trial well.
// A plasmd that runs and does not answer for a minute is started again.
func (n *node) watchHealth() error {
	every, deaf, good, lasted := 100*time.Millisecond, 0, false, false
	for ; ; time.Sleep(every) {
		status, err := probe(plasmdAt, 10*time.Second)
		switch {
		case err == nil && status == 200 && !good:
			good, deaf, every = true, 0, probeEvery
			n.say("plasmd answers, %.1f s after the kernel started", uptime())
			n.trialGood()
		case err == nil:
			deaf = 0
		case good:
			if deaf++; deaf == deafAfter {
				deaf = 0
				n.problem("plasmd has not answered for %s (%v); it is started again", time.Duration(deafAfter)*probeEvery, err)
				if err := n.services.Restart("plasmd"); err != nil {
					n.problem("%v", err)
				}
			}
		}
		if good && !lasted && time.Since(n.started) > lastTime {
			lasted = true
			n.trialLasted()
		}
		if !good && time.Since(n.started) > trialTime {
			every = probeEvery
			if n.options.Trial != "" {
				n.problem("release %s did not become healthy in %s; restarting into the release on the disk", n.options.Trial, trialTime)
				n.end(restart)
			}
		}
	}
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

func uptime() float64 {
	var seconds float64
	data, err := os.ReadFile("/proc/uptime")
	if err == nil {
		_, err = fmt.Sscan(string(data), &seconds)
	}
	if err != nil {
		return 0
	}
	return seconds
}

// watchTrials opens the journal and says which releases did not come up.
func (n *node) watchTrials() error {
	// Also where there is a disk that nothing can be kept on.
	if _, err := os.Stat(filepath.Dir(dataDir)); err != nil && !n.options.NoWrite {
		if _, err := os.Stat(linux.EFIVars.Target); err == nil {
			if err := linux.EFIVars.Do(); err != nil {
				n.problem("%v", err)
			}
		}
	}
	n.mu.Lock()
	n.journal = trial.Here()
	journal := n.journal
	n.mu.Unlock()
	open, err := journal.Open()
	if err != nil {
		n.problem("%v; it begins anew", err)
		return journal.Reset()
	}
	for _, r := range open {
		if r.Digest.String() == n.options.Trial {
			continue // it is just on its way up
		}
		n.problem("release %s %s; %s", r.Digest, r.Fate(), r.Next())
	}
	return nil
}

// trialGood notes that the release that runs came up.
func (n *node) trialGood() {
	if n.options.Trial == "" {
		return
	}
	if ended, err := linux.EndGuard(); err != nil {
		n.problem("%v", err)
	} else if ended {
		n.say("the guard of this trial has ended")
	}
	d, err := names.ParseDigest(n.options.Trial)
	if err == nil {
		err = trial.Here().Good(d)
	}
	if err != nil {
		n.problem("marking release %s as good: %v", n.options.Trial, err)
		return
	}
	n.say("release %s is good", n.options.Trial)
	n.mu.Lock()
	n.good = true
	n.mu.Unlock()
}

// trialLasted crosses out the tries of the release that runs, if it came up: it
// has lasted, or somebody ends it.
func (n *node) trialLasted() {
	n.mu.Lock()
	good := n.good
	n.mu.Unlock()
	if !good {
		return
	}
	d, err := names.ParseDigest(n.options.Trial)
	if err == nil {
		err = trial.Here().Lasted(d)
	}
	if err != nil {
		n.problem("crossing out the tries of release %s: %v", n.options.Trial, err)
	}
}

// petWatchdog keeps the machine from being reset. Health is not its concern: a
// service that hangs is started again, and a trial that does not become healthy
// ends above; what is left for the watchdog is a machine where nothing runs, or
// one that does not get to its end: from then on it is not petted here.
func (n *node) petWatchdog() error {
	for ; ; time.Sleep(petEvery) {
		n.mu.Lock()
		ending := n.ending
		n.mu.Unlock()
		if ending {
			return nil
		}
		if err := n.watchdog.Pet(); err != nil {
			return err
		}
	}
}
