package tasks

import (
	"fmt"
	"io"
	"sync"
)

// maxProblems is how many problems are kept; what is wrong after that many is
// no news.
const maxProblems = 32

// Problems collects what is wrong with a daemon, for /status. It is safe for
// use by many at once.
type Problems struct {
	log io.Writer

	mu   sync.Mutex
	list []string
}

// NewProblems returns a collection that prints each problem on log.
func NewProblems(log io.Writer) *Problems { return &Problems{log: log} }

// Add prints a problem and keeps it.
func (p *Problems) Add(err error) {
	fmt.Fprintf(p.log, "problem: %v\n", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) < maxProblems {
		p.list = append(p.list, err.Error())
	}
}

// List returns the problems, oldest first.
func (p *Problems) List() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.list...)
}
