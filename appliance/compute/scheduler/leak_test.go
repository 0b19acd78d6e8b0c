package scheduler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// settled: nothing is on its way in or out.
func (p *Pool) settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buried == 0 && p.starting == 0 && len(p.spare) == p.config.Spare
}

// children counts the processes that this one has started, the dead ones that
// nobody waited for among them.
func children(t *testing.T) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		var state string
		var parent int
		_, rest, _ := strings.Cut(string(text), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == os.Getpid() {
			n++
		}
	}
	return n
}

// descriptors counts what this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
