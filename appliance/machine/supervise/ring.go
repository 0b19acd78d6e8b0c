package supervise

import "sync"

// The caps of a ring: what a service says costs at most a quarter of a MiB.
const (
	MaxLine  = 1024 // bytes of one line; a longer one counts as several
	maxLines = 256
)

// Ring holds the last lines of a service. The zero value is empty.
type Ring struct {
	mu    sync.Mutex
	lines []string
	next  int // where the next line goes, once the ring is full
}

// Add appends a line and drops the oldest when there is no room.
func (r *Ring) Add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) < maxLines {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % maxLines
}

// Lines returns a copy, oldest first.
func (r *Ring) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]string(nil), r.lines[r.next:]...), r.lines[:r.next]...)
}
