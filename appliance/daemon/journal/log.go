// Package journal keeps the last lines of the log of a node, for those who own it.
package journal

import (
	"bytes"
	"io"
	"sync"
	"time"

	"phase/appliance/base/ui"
)

// Line is one line of the daemon's log, without control characters.
type Line struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Lines is the answer of GET /v1/logs, oldest first.
type Lines struct {
	Lines []Line `json:"lines"`
}

// MaxLines is how many lines are answered at most.
const MaxLines = 1000

// Log passes what is written on and keeps the last thousand lines of it.
type Log struct {
	to  io.Writer
	now func() time.Time

	mu    sync.Mutex
	lines []Line
	part  []byte // of a line that is not over
}

// NewLog returns a log that passes everything on to to.
func NewLog(to io.Writer, now func() time.Time) *Log { return &Log{to: to, now: now} }

// maxPart is how much of a line without an end is kept.
const maxPart = 4 << 10

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	for rest := p; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			l.part = append(l.part, rest[:min(len(rest), max(0, maxPart-len(l.part)))]...)
			break
		}
		l.part = append(l.part, line[:min(len(line), max(0, maxPart-len(l.part)))]...)
		if len(l.lines) >= 2*MaxLines {
			l.lines = append(l.lines[:0], l.lines[len(l.lines)-MaxLines:]...)
		}
		l.lines = append(l.lines, Line{l.now().UTC(), ui.Clean(string(l.part))})
		l.part, rest = l.part[:0], after
	}
	l.mu.Unlock()
	return l.to.Write(p)
}

// Last returns at most n lines, oldest first.
func (l *Log) Last(n int) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Line{}, l.lines[max(0, len(l.lines)-min(n, MaxLines)):]...)
}
