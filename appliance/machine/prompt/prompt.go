// Package prompt asks the person at the consoles of this machine one question: on
// all of them at once and for some seconds; the first answer counts.
package prompt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Console is a terminal whose keys come as they are typed, with nothing done to
// them: a linux.Terminal.
type Console interface {
	io.ReadWriter
	Name() string
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Clock is the time of this machine.
type Clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Answer is the key that was typed and the name of the console; the zero Answer
// is that of nobody.
type Answer struct {
	Key     byte
	Console string
}

// writeTime is how long a console may take for a line: one that takes nothing
// holds up no boot.
const writeTime = 100 * time.Millisecond

// Ask shows a line of text on the consoles, and behind it the seconds that are
// left, until one of keys is typed at any of them or the time is over. A console
// that cannot be read is asked no more; the error says which.
func Ask(consoles []Console, text, keys string, patience time.Duration, clock Clock) (answer Answer, err error) {
	answers := make(chan Answer, len(consoles)) // one each
	errs := make([]error, len(consoles))
	var reading sync.WaitGroup
	for i, c := range consoles {
		// Before the reader runs, which the end of the question may overtake.
		if errs[i] = c.SetReadDeadline(time.Time{}); errs[i] != nil {
			continue // its reader could not be ended
		}
		reading.Go(func() {
			key, err := readKey(c, keys)
			if key != 0 {
				answers <- Answer{key, c.Name()}
			} else if !errors.Is(err, os.ErrDeadlineExceeded) {
				errs[i] = fmt.Errorf("reading what is typed: %w", err)
			}
		})
	}
	end := clock.Now().Add(patience)
	for left := patience; left > 0 && answer.Key == 0; left = end.Sub(clock.Now()) {
		// Over the line of a second ago, whose last digit the space covers.
		show(consoles, fmt.Sprintf("\r%s %d s ", text, (left+time.Second-1)/time.Second))
		select {
		case answer = <-answers:
		case <-clock.After(min(left, time.Second)):
		}
	}
	show(consoles, "\r\n")
	for _, c := range consoles {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // long over; what fails here is not read
	}
	reading.Wait()
	select {
	case late := <-answers: // typed in the last moment
		if answer.Key == 0 {
			answer = late
		}
	default:
	}
	return answer, errors.Join(errs...)
}

// show writes to all consoles. One that takes nothing may be typed at all the same.
func show(consoles []Console, text string) {
	for _, c := range consoles {
		_ = c.SetWriteDeadline(time.Now().Add(writeTime))
		_, _ = c.Write([]byte(text))
	}
}

// readKey returns the first of keys that is typed at a console.
func readKey(c Console, keys string) (byte, error) {
	var typed decoder
	b := make([]byte, 64)
	for {
		n, err := c.Read(b)
		for _, b := range b[:n] {
			if key := typed.key(b); key != 0 && strings.IndexByte(keys, key) >= 0 {
				return key, nil
			}
		}
		if err != nil {
			return 0, err
		}
	}
}
