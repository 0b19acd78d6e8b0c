package remotetrials

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"phase/appliance/base/names"
)

// The header fields.
const (
	trialHeader = "Phase-Trial"
	triesHeader = "Phase-Tries"
)

// state is what a machine says of its trial of a release.
type state string

const (
	asked state = "asked" // how often did I try it?
	begun state = "begun" // I am about to
	good  state = "good"  // I run it, and am well
)

const (
	maxTries  = 1000 // beyond, it is no longer counted
	maxCounts = 1024 // machines and releases remembered
)

// Counter is a provider's memory. The zero value is empty and ready; it is safe
// for use by many at once.
type Counter struct {
	mu    sync.Mutex
	tries map[count]int
	order []count // oldest first
}

type count struct {
	machine string
	release names.Digest
}

// Answer reads what a request says of a trial, if anything, and puts the number
// of tries into the header of its answer. holds says which releases the
// provider has: no others are counted.
func (c *Counter) Answer(w http.ResponseWriter, r *http.Request, holds func(names.Digest) bool) {
	said := r.Header.Get(trialHeader)
	if said == "" {
		return
	}
	d, s, err := parse(said)
	machine, _, split := net.SplitHostPort(r.RemoteAddr)
	if err != nil || split != nil || !holds(d) {
		return
	}
	w.Header().Set(triesHeader, strconv.Itoa(c.note(count{machine, d}, s)))
}

func (c *Counter) note(of count, s state) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, known := c.tries[of]
	switch s {
	case begun:
		if c.tries == nil {
			c.tries = map[count]int{}
		}
		if !known {
			if c.order = append(c.order, of); len(c.order) > maxCounts {
				delete(c.tries, c.order[0])
				c.order = c.order[1:]
			}
		}
		n = min(n+1, maxTries)
		c.tries[of] = n
	case good:
		if n = 0; known {
			c.tries[of] = 0
		}
	}
	return n
}

// parse reads "sha256:<hex>; state".
func parse(text string) (names.Digest, state, error) {
	name, word, _ := strings.Cut(text, "; ")
	d, err := names.ParseDigest(name)
	if err != nil {
		return d, "", err
	}
	switch s := state(word); s {
	case asked, begun, good:
		return d, s, nil
	}
	return d, "", fmt.Errorf("%.20q is no state of a trial", word)
}
