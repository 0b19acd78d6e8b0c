// Package journal keeps the last lines of the log of a node, for those who own it:
// those of the daemon itself and, where init hands on the kernel's log, those
// of the kernel and of the other programs. No secret is kept in it.
package journal

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/redact"
	"phase/appliance/base/ui"
)

// Own is the service of the daemon's own lines.
const Own = "plasmd"

// Level is how bad what a line says is.
type Level string

// The levels.
const (
	Error   Level = "error"
	Warning Level = "warning"
	Info    Level = "info"
)

// Line is one line, without control characters.
type Line struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"` // the program that wrote it, or kernel
	Level   Level     `json:"level"`
	Text    string    `json:"text"`
}

// Lines is the answer of GET /v1/logs, oldest first.
type Lines struct {
	Lines []Line `json:"lines"`
}

const (
	// MaxLines is how many lines are answered at most.
	MaxLines = 1000
	maxPart  = 4 << 10 // of a line without an end that is kept
	maxBytes = 1 << 20 // of all lines
	overhead = 96      // bytes of a line beside its text, about
)

// Query says which lines are asked for. The zero Query has all of them.
type Query struct {
	Since   time.Time
	Service string
}

// Matches says whether a line is asked for.
func (q Query) Matches(l Line) bool {
	return (q.Service == "" || q.Service == l.Service) && !l.Time.Before(q.Since)
}

// Log passes what is written on and keeps the last lines of it, up to a MiB.
// No method waits for a reader.
type Log struct {
	to  io.Writer
	now func() time.Time

	mu      sync.Mutex
	secrets redact.Redactor
	lines   []Line
	first   uint64 // how many lines there were before lines
	bytes   int
	part    []byte        // of a line that is not over
	more    chan struct{} // closed when a line comes
	over    bool
	readers int
}

// NewLog returns a log that passes everything on to to.
func NewLog(to io.Writer, now func() time.Time) *Log {
	return &Log{to: to, now: now, more: make(chan struct{})}
}

// Hide has these values taken out of each line that is kept from now on.
func (l *Log) Hide(values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secrets = redact.New(values...)
}

// Write takes lines of the daemon itself.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	for rest := p; ; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			l.part = append(l.part, rest[:min(len(rest), max(0, maxPart-len(l.part)))]...)
			break
		}
		l.part = append(l.part, line[:min(len(line), max(0, maxPart-len(l.part)))]...)
		text := string(l.part)
		l.add(Line{l.now().UTC(), Own, LevelOf(text), text})
		l.part, rest = l.part[:0], after
	}
	l.mu.Unlock()
	return l.to.Write(p)
}

// Add takes a line of another program, which is passed on to nobody.
func (l *Log) Add(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(line)
}

// add keeps a line, and forgets the oldest ones where there is no room for it. The
// caller holds mu.
func (l *Log) add(line Line) {
	// Secrets first: what is cut would not be known as one any more.
	line.Text = ui.Clean(l.secrets.Text(strings.ToValidUTF8(line.Text, "\uFFFD")))
	l.lines = append(l.lines, line)
	l.bytes += len(line.Text) + overhead
	for l.bytes > maxBytes {
		l.bytes -= len(l.lines[0].Text) + overhead
		l.lines[0] = Line{}
		l.lines = l.lines[1:]
		l.first++
	}
	close(l.more)
	l.more = make(chan struct{})
}

// LevelOf is the level of a line by its first words, as programs of a node write
// them.
func LevelOf(text string) Level {
	switch word, _, _ := strings.Cut(text, ": "); word {
	case "error":
		return Error
	case "warn", "problem":
		return Warning
	}
	return Info
}

// Last returns the last n lines that are asked for, oldest first, and the position
// behind them. It returns all of them where n is 0.
func (l *Log) Last(n int, q Query) (lines []Line, next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines = []Line{}
	for i := len(l.lines) - 1; i >= 0 && (n == 0 || len(lines) < n); i-- {
		if q.Matches(l.lines[i]) {
			lines = append(lines, l.lines[i])
		}
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines, l.first + uint64(len(l.lines))
}

// Batch is what stands in the log from a position on.
type Batch struct {
	Lines  []Line
	Missed uint64          // lines that gave way to newer ones before they were read
	Next   uint64          // the position behind Lines
	More   <-chan struct{} // closed when there is more than this
	Over   bool            // nothing more comes
}

// From returns at most n lines from a position on.
func (l *Log) From(at uint64, n int) Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := Batch{More: l.more, Over: l.over}
	if at < l.first {
		b.Missed = l.first - at
		at = l.first
	}
	rest := l.lines[min(at-l.first, uint64(len(l.lines))):]
	b.Lines = append(b.Lines, rest[:min(n, len(rest))]...)
	b.Next = at + uint64(len(b.Lines))
	if len(rest) > len(b.Lines) {
		b.Over = false
	}
	return b
}

// Lost is the line that stands for lines which a reader was too slow for.
func Lost(missed uint64, at time.Time) Line {
	return Line{at.UTC(), Own, Warning, fmt.Sprintf("%d lines of the log were lost here: they gave way to newer ones before they were sent", missed)}
}

// End says that the daemon ends: who reads to the end is done then.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.more)
		l.more = make(chan struct{})
	}
}

// MaxReaders is how many may read on from the log at once.
const MaxReaders = 32

// Enter counts one who reads on, until leave; it is refused when there are too many.
func (l *Log) Enter() (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers == MaxReaders {
		return nil, false
	}
	l.readers++
	return func() {
		l.mu.Lock()
		l.readers--
		l.mu.Unlock()
	}, true
}
