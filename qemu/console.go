package qemu

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind says what an Event is.
type Kind string

// The kinds of event. All but Line come from QEMU itself, not from what the machine says.
const (
	PowerOn  Kind = "power on"  // QEMU was started
	Line     Kind = "line"      // the machine wrote a line on its serial console
	Reset    Kind = "reset"     // the machine went through its firmware again; Text names who asked
	Shutdown Kind = "shutdown"  // the machine is switching itself off; Text names why
	Watchdog Kind = "watchdog"  // the watchdog expired; Text is what it did
	Stopped  Kind = "stopped"   // QEMU stopped the machine's clock, as after an emulator error
	PowerOff Kind = "power off" // the QEMU process has ended; Text says why
)

// maxLine caps one console line, in bytes; a longer one is cut into several.
const maxLine = 16 << 10

// Event is one thing that happened to a machine.
type Event struct {
	Kind Kind
	// Text of a Line is without control characters, escape sequences and the kernel's time stamp.
	Text string
	// Host is this process's clock; After is the time since the latest power on.
	Host  time.Time
	After time.Duration
	// Kernel is the stamp the kernel put before the line, -1 without one. It starts again with each kernel.
	Kernel time.Duration
	// Index counts the machine's events from 0, over all power cycles.
	Index int
}

// String writes the event as one line, with the time since power on.
func (e Event) String() string {
	text := e.Text
	if e.Kind != Line {
		text = "-- " + string(e.Kind)
		if e.Text != "" {
			text += ": " + e.Text
		}
	}
	return fmt.Sprintf("%8.3f  %s", e.After.Seconds(), text)
}

// Console is a machine's serial console and what QEMU reports about the machine, in order, from the first power on.
// Nothing is forgotten, so that waiting for something that already happened does not hang.
type Console struct {
	mu      sync.Mutex
	events  []Event
	changed chan struct{}
	raw     io.Writer
	input   io.Writer
	power   time.Time
	off     string // why the machine is off; empty while it is on
	part    []byte
}

func newConsole(raw io.Writer) *Console {
	return &Console{changed: make(chan struct{}), raw: raw, off: "it was never started"}
}

// Events is the whole history.
func (c *Console) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[:len(c.events):len(c.events)]
}

// String is the whole history, a line an event.
func (c *Console) String() string {
	var b strings.Builder
	for _, e := range c.Events() {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Wait returns the first line, from the first power on, that pattern (a regular expression) matches; a later power on does not hide
// it. It waits until ctx ends, or until the machine is off, and then says what the console said last.
func (c *Console) Wait(ctx context.Context, pattern string) (Event, error) {
	return c.WaitAfter(ctx, Event{Index: -1}, pattern)
}

// WaitAfter is Wait for a line that comes after the event given.
func (c *Console) WaitAfter(ctx context.Context, after Event, pattern string) (Event, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return Event{}, fmt.Errorf("waiting for a console line: %w", err)
	}
	return c.WaitFunc(ctx, after, fmt.Sprintf("a line with %q", pattern), func(e Event) bool { return e.Kind == Line && re.MatchString(e.Text) })
}

// WaitKind returns the first event of a kind that comes after the event given (Event{Index: -1}: from the beginning).
func (c *Console) WaitKind(ctx context.Context, after Event, kind Kind) (Event, error) {
	return c.WaitFunc(ctx, after, string(kind), func(e Event) bool { return e.Kind == kind })
}

// WaitFunc returns the first event after the one given for which match is true. what names it in the error.
func (c *Console) WaitFunc(ctx context.Context, after Event, what string, match func(Event) bool) (Event, error) {
	next := after.Index + 1
	for {
		c.mu.Lock()
		events, changed, off := c.events, c.changed, c.off
		c.mu.Unlock()
		for ; next < len(events); next++ {
			if match(events[next]) {
				return events[next], nil
			}
		}
		if off != "" {
			return Event{}, fmt.Errorf("waiting for %s: the machine is off (%s)%s", what, off, tail(events))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("waiting for %s: %w%s", what, ctx.Err(), tail(events))
		}
	}
}

// Last is the latest event: a mark for WaitAfter.
func (c *Console) Last() Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.events) == 0 {
		return Event{Index: -1}
	}
	return c.events[len(c.events)-1]
}

// Write types on the machine's serial console.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	w := c.input
	c.mu.Unlock()
	if w == nil {
		return 0, fmt.Errorf("typing on the console: the machine is off")
	}
	return w.Write(p)
}

func tail(events []Event) string {
	if len(events) == 0 {
		return "; the console said nothing"
	}
	const n = 12
	var b strings.Builder
	b.WriteString("; the console's last lines:")
	for _, e := range events[max(0, len(events)-n):] {
		b.WriteString("\n  " + e.String())
	}
	return b.String()
}

func (c *Console) powerOn(input io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.input, c.power, c.off, c.part = input, time.Now(), "", nil
	c.add(Event{Kind: PowerOn, Kernel: -1})
}

func (c *Console) powerOff(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	c.input, c.off = nil, why
	c.add(Event{Kind: PowerOff, Text: why, Kernel: -1})
}

func (c *Console) report(kind Kind, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(Event{Kind: kind, Text: text, Kernel: -1})
}

// add needs the lock.
func (c *Console) add(e Event) {
	e.Index, e.Host = len(c.events), time.Now()
	e.After = e.Host.Sub(c.power)
	c.events = append(c.events, e)
	close(c.changed)
	c.changed = make(chan struct{})
}

// serial takes what the serial port sent.
func (c *Console) serial(p []byte) {
	if c.raw != nil {
		c.raw.Write(p) // a full disk under the log must not take the machine with it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if b == '\n' || len(c.part) >= maxLine {
			c.flush()
		}
		if b != '\n' {
			c.part = append(c.part, b)
		}
	}
}

func (c *Console) flush() {
	if len(c.part) == 0 {
		return
	}
	text, kernel := parseLine(string(c.part))
	c.part = c.part[:0]
	c.add(Event{Kind: Line, Text: text, Kernel: kernel})
}

// escapes are the ECMA-48 sequences firmware paints its menus with.
var escapes = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|[()][A-Za-z0-9]|[=>78cDEHM])`)

var stamp = regexp.MustCompile(`^\[ *(\d{1,9}\.\d{6})\] ?`)

// parseLine cleans a console line and takes the kernel's stamp (printk.time) off it.
func parseLine(s string) (text string, kernel time.Duration) {
	s = escapes.ReplaceAllString(s, "")
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	kernel = -1
	if m := stamp.FindStringSubmatch(s); m != nil {
		if sec, err := strconv.ParseFloat(m[1], 64); err == nil {
			kernel = time.Duration(sec * float64(time.Second))
		}
		s = s[len(m[0]):]
	}
	return s, kernel
}
