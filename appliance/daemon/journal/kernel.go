package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kernel is the service of the kernel's own lines.
const Kernel = "kernel"

// maxRecord is the longest record that is read of the kernel's log, with room: the
// kernel gives no more than 8 KiB.
const maxRecord = 16 << 10

// record is one record of /dev/kmsg.
type record struct {
	facility, severity int
	number             uint64
	since              time.Duration // the start of the machine
	text               string
}

// parseRecord reads "PRIORITY,NUMBER,MICROSECONDS,FLAGS[,…];TEXT\n" and ignores the
// lines " KEY=VALUE" behind it, as the kernel writes records
// (Documentation/ABI/testing/dev-kmsg).
func parseRecord(data []byte) (r record, err error) {
	head, text, ok := strings.Cut(string(data[:min(len(data), maxRecord)]), ";")
	fields := strings.Split(head, ",")
	if !ok || len(fields) < 3 {
		return r, errors.New("a record of the kernel's log has no head")
	}
	priority, err1 := strconv.ParseUint(fields[0], 10, 16)
	number, err2 := strconv.ParseUint(fields[1], 10, 64)
	micros, err3 := strconv.ParseInt(fields[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return r, fmt.Errorf("the head of a record of the kernel's log: %w", err)
	}
	if micros < 0 || micros > int64(100*365*24*time.Hour/time.Microsecond) {
		return r, fmt.Errorf("a record of the kernel's log is of %d microseconds after the start", micros)
	}
	text, _, _ = strings.Cut(text, "\n")
	return record{int(priority >> 3), int(priority & 7), number, time.Duration(micros) * time.Microsecond, text}, nil
}

// program is the name that init writes before each line of a program.
var program = regexp.MustCompile(`^([a-z][a-z0-9-]{0,31}): `)

// line is the record as a line of the log, of a machine that started at start.
func (r record) line(start time.Time) Line {
	l := Line{Time: start.Add(r.since).UTC(), Service: Kernel, Text: r.text, Level: Info}
	switch {
	case r.severity <= 3:
		l.Level = Error
	case r.severity == 4:
		l.Level = Warning
	}
	if m := program.FindStringSubmatch(r.text); m != nil && r.facility != 0 {
		l.Service, l.Text = m[1], strings.TrimPrefix(r.text, m[0])
		if l.Level == Info {
			l.Level = LevelOf(l.Text)
		}
	}
	return l
}

// FollowKernel takes the lines of the kernel and of the other programs into the log,
// from those that are there already on, until ctx ends: from f, an open
// /dev/kmsg, which it closes. up is how long the machine has been up. The lines of
// this daemon come from itself, whole and sooner; of those in f, only what it
// wrote before it was started, at began, is taken.
func (l *Log) FollowKernel(ctx context.Context, f *os.File, up func() time.Duration, began time.Duration) error {
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	buf := make([]byte, maxRecord)
	next := uint64(0)
	for {
		n, err := f.Read(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.EPIPE): // records were overwritten: those after them come
			continue
		case err != nil:
			return fmt.Errorf("reading the kernel's log: %w", err)
		case n == 0:
			return nil
		}
		r, err := parseRecord(buf[:n])
		if err != nil {
			continue // no record that anybody could use
		}
		start := l.now().Add(-up())
		if next != 0 && r.number > next {
			l.Add(Lost(r.number-next, start.Add(r.since)))
		}
		next = r.number + 1
		if line := r.line(start); line.Service != Own || r.since < began {
			l.Add(line)
		}
	}
}
