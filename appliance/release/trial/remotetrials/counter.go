package remotetrials

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
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

// count is whose tries of what are counted. A machine says a name for itself that
// is another one for each release, see Name.
type count struct {
	machine string
	release names.Digest
}

// nameBytes is how long such a name is, as text.
const nameBytes = 32

// Name is what a machine is called when it speaks of a release: 16 bytes, hex, of
// what it knows of itself and nobody else, hashed with the release. Two machines
// behind one address have two names, and what a machine is called for one release
// does not tell what it is called for another.
func Name(machine []byte, release names.Digest) string {
	sum := sha256.Sum256(slices.Concat([]byte("phase trial of a release "), release[:], machine))
	return hex.EncodeToString(sum[:nameBytes/2])
}

// Answer reads what a request says of a trial, if anything, and puts the number
// of tries into the header of its answer. holds says which releases the
// provider has: no others are counted.
func (c *Counter) Answer(w http.ResponseWriter, r *http.Request, holds func(names.Digest) bool) {
	said := r.Header.Get(trialHeader)
	if said == "" {
		return
	}
	d, s, machine, err := parse(said)
	if err != nil || !holds(d) {
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

// parse reads "sha256:<hex>; state; name".
func parse(text string) (d names.Digest, s state, machine string, err error) {
	words := strings.SplitN(text, "; ", 3)
	if len(words) != 3 {
		return d, "", "", fmt.Errorf("%.20q names no release, state and machine", text)
	}
	if d, err = names.ParseDigest(words[0]); err != nil {
		return d, "", "", err
	}
	machine = words[2]
	if len(machine) != nameBytes || strings.Trim(machine, "0123456789abcdef") != "" {
		return d, "", "", fmt.Errorf("%.40q is no name of a machine", machine)
	}
	switch s = state(words[1]); s {
	case asked, begun, good:
		return d, s, machine, nil
	}
	return d, "", "", fmt.Errorf("%.20q is no state of a trial", words[1])
}
