// Package witness is the memory that a provider lends to machines which have
// none: no disk, and no variables in their firmware. Such a machine tells the
// providers of a release before it jumps into it, and once it came up; after a
// restart it asks them how often it has tried, and leaves alone what has died
// under it. What a provider says here can keep a node from the provider's own
// release and from nothing else, so a liar gains no more than by not serving.
// A provider knows a machine by the address it asks from, counts only tries of
// releases it holds, and forgets the oldest when there are too many.
//
// It travels in the header of a request for the manifest:
//
//	Phase-Trial: sha256:<hex>; asked     → Phase-Tries: <n>
//	Phase-Trial: sha256:<hex>; begun     → Phase-Tries: <n + 1>
//	Phase-Trial: sha256:<hex>; good      → Phase-Tries: 0
package witness

import (
	"context"
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
	TrialHeader = "Phase-Trial"
	TriesHeader = "Phase-Tries"
)

// Word is what a machine says of a release.
type Word string

// The words.
const (
	Asked Word = "asked" // how often did I try it?
	Begun Word = "begun" // I am about to
	Good  Word = "good"  // I run it, and am well
)

const (
	maxTries = 1000 // beyond, it is no longer counted
	maxBook  = 1024 // machines and releases remembered
)

// Book is a provider's memory. The zero value is empty and ready; it is safe
// for use by many at once.
type Book struct {
	mu    sync.Mutex
	tries map[entry]int
	order []entry // oldest first
}

type entry struct {
	machine string
	release names.Digest
}

// Answer reads what a request says of a trial, if anything, and puts the count
// into the header of its answer. holds says which releases the provider has:
// no others are counted.
func (b *Book) Answer(w http.ResponseWriter, r *http.Request, holds func(names.Digest) bool) {
	said := r.Header.Get(TrialHeader)
	if said == "" {
		return
	}
	d, word, err := parse(said)
	machine, _, split := net.SplitHostPort(r.RemoteAddr)
	if err != nil || split != nil || !holds(d) {
		return
	}
	w.Header().Set(TriesHeader, strconv.Itoa(b.note(entry{machine, d}, word)))
}

func (b *Book) note(e entry, word Word) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, known := b.tries[e]
	switch word {
	case Begun:
		if b.tries == nil {
			b.tries = map[entry]int{}
		}
		if !known {
			if b.order = append(b.order, e); len(b.order) > maxBook {
				delete(b.tries, b.order[0])
				b.order = b.order[1:]
			}
		}
		n = min(n+1, maxTries)
		b.tries[e] = n
	case Good:
		if n = 0; known {
			b.tries[e] = 0
		}
	}
	return n
}

// parse reads "sha256:<hex>; word".
func parse(text string) (names.Digest, Word, error) {
	name, word, _ := strings.Cut(text, "; ")
	d, err := names.ParseDigest(name)
	if err != nil {
		return d, "", err
	}
	switch w := Word(word); w {
	case Asked, Begun, Good:
		return d, w, nil
	}
	return d, "", fmt.Errorf("%.20q is no word of a trial", word)
}

// Tell says a word of a release to a provider that has its manifest at url, and
// returns how often this machine has begun it since it was good last. A
// provider that keeps no book is an error.
func Tell(ctx context.Context, client *http.Client, url string, d names.Digest, word Word) (tries int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, fmt.Errorf("telling of a trial: %w", err)
	}
	req.Header.Set(TrialHeader, d.String()+"; "+string(word))
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("telling of a trial: %w", err)
	}
	resp.Body.Close()
	n, err := strconv.ParseUint(resp.Header.Get(TriesHeader), 10, 16)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("telling of a trial: %s keeps no count of trials", url)
	}
	return int(n), nil
}
