// Package forward sends the lines of the log to a syslog server, over UDP or TCP.
// Nothing waits for it: the log keeps a MiB of lines for a server that does not
// answer, and what gives way to newer lines is counted and said.
package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"phase/appliance/base/syslog"
	"phase/appliance/daemon/journal"
)

const (
	batch     = 64               // lines that are taken from the log at once
	firstWait = time.Second      // before the server is tried again, then twice as long each time
	lastWait  = time.Minute      // the longest
	lasted    = time.Minute      // a connection that stood this long begins with firstWait again
	dialTime  = 10 * time.Second // for the server to take a connection
	writeTime = 10 * time.Second // for it to take a message
	endTime   = time.Second      // for the last lines, when the daemon ends
	quiet     = 3                // failures in a row before one is said: at the start there is no network yet
	sayAgain  = 10 * time.Minute // and not more often than this
)

// Forwarder sends a log to one server.
type Forwarder struct {
	log  *journal.Log
	to   syslog.Target
	host string
	say  io.Writer // where failures are said: the log itself

	wait       time.Duration // firstWait, or less in tests
	sent, lost atomic.Uint64

	conn    net.Conn
	unwatch func() bool
	closed  chan struct{} // when the server has ended the connection
	opened  time.Time
	failed  int       // in a row
	said    time.Time // when a failure was said
	buf     []byte
}

// New returns a forwarder of the lines of log, as those of host, to a server.
// Failures are written to say.
func New(log *journal.Log, to syslog.Target, host string, say io.Writer) *Forwarder {
	return &Forwarder{log: log, to: to, host: host, say: say, wait: firstWait}
}

// Counts are the lines that were sent, and those that were lost because the server
// was away for too long.
func (f *Forwarder) Counts() map[string]uint64 {
	return map[string]uint64{"sent": f.sent.Load(), "lost": f.lost.Load()}
}

// Run sends all there is in the log and all that comes, until ctx ends; then it has a
// second for the rest. A failure does not end it.
func (f *Forwarder) Run(ctx context.Context) error {
	late, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTime, end) })()
	defer f.close()
	for at := uint64(0); ; {
		b := f.log.From(at, batch)
		at = b.Next
		lines := b.Lines
		if b.Missed > 0 {
			f.lost.Add(b.Missed)
			lines = append([]journal.Line{journal.Lost(b.Missed, time.Now())}, lines...)
		}
		for _, line := range lines {
			if !f.deliver(late, line) {
				return nil
			}
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-b.More:
		case <-f.closed: // nil, which is never ready, without a connection
			f.close()
		case <-ctx.Done():
			return nil
		}
	}
}

// deliver tries to send a line until that is done; false says that ctx ended before.
func (f *Forwarder) deliver(ctx context.Context, line journal.Line) bool {
	for {
		err := f.send(ctx, line)
		if err == nil {
			f.sent.Add(1)
			f.works()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		wait := f.fails(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// severities are those of syslog for the levels of the log.
var severities = map[journal.Level]syslog.Severity{journal.Error: syslog.Error, journal.Warning: syslog.Warning}

// send sends one line, over a new connection where there is none.
func (f *Forwarder) send(ctx context.Context, line journal.Line) error {
	select {
	case <-f.closed:
		f.close()
	default:
	}
	if f.conn == nil {
		if err := f.dial(ctx); err != nil {
			return err
		}
	}
	severity, ok := severities[line.Level]
	if !ok {
		severity = syslog.Informational
	}
	message := syslog.Message{Severity: severity, Time: line.Time, Host: f.host, App: line.Service, Text: line.Text}.Append(nil)
	if f.to.Network == "tcp" {
		f.buf = syslog.Frame(f.buf[:0], message)
		message = f.buf
	}
	err := f.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if err == nil {
		_, err = f.conn.Write(message)
	}
	if err != nil {
		f.close() // of a message that was cut, the server cannot find the next one
	}
	return err
}

// dial connects, and watches whether the server ends the connection: it sends
// nothing, so that is all there is to read.
func (f *Forwarder) dial(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, f.to.Network, f.to.Address)
	if err != nil {
		return err
	}
	f.conn, f.opened = conn, time.Now()
	// A server that takes nothing must not hold up the end.
	f.unwatch = context.AfterFunc(ctx, func() { conn.Close() })
	if f.to.Network != "tcp" {
		return nil
	}
	closed := make(chan struct{})
	f.closed = closed
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn) // its end is all that counts
	}()
	return nil
}

func (f *Forwarder) close() {
	if f.conn != nil {
		f.unwatch()
		f.conn.Close() // what is lost with it is not known, as the server acknowledges nothing
	}
	f.conn, f.closed = nil, nil
}

// works notes that the server took a line.
func (f *Forwarder) works() {
	if f.failed > 0 && time.Since(f.opened) >= lasted {
		f.failed = 0
	}
}

// fails notes that it took none, says so now and then, and returns how long to wait.
// What is said is a line of the log, which is to be sent: it must not come with
// each failure.
func (f *Forwarder) fails(err error) time.Duration {
	f.failed++
	if f.failed >= quiet && (f.said.IsZero() || time.Since(f.said) >= sayAgain) {
		f.said = time.Now()
		fmt.Fprintf(f.say, "problem: the syslog server %s takes no lines: %v; they are kept for it up to a MiB (%d lost so far)\n", f.to, err, f.lost.Load())
	}
	return min(f.wait<<min(f.failed-1, 10), lastWait)
}
