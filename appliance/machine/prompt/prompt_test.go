package prompt

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// stopped is a clock that stands still; moving one that a wait moves on.
type stopped struct{}

func (stopped) Now() time.Time                       { return time.Unix(0, 0) }
func (stopped) After(time.Duration) <-chan time.Time { return nil }

type moving struct{ now time.Time }

func (m *moving) Now() time.Time { return m.now }
func (m *moving) After(d time.Duration) <-chan time.Time {
	m.now = m.now.Add(d)
	over := make(chan time.Time, 1)
	over <- m.now
	return over
}

// console is one whose keys come through a pipe.
type console struct {
	*os.File
	name string
	mu   sync.Mutex
	text strings.Builder
}

func (c *console) Name() string                     { return c.name }
func (c *console) SetWriteDeadline(time.Time) error { return nil }
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

// newConsole returns a console, and what types at it.
func newConsole(t *testing.T, name string) (*console, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return &console{File: r, name: name}, w
}

// TestAsk: the first of the keys at any console is the answer; others are none.
func TestAsk(t *testing.T) {
	for typed, want := range map[string]byte{
		"2": '2', "xyz93": '3', "\r": Enter, "\n1": Enter, "\x1b[3~\x1b[A\x1b[1;2~1": '1', "\x1bO2\x1b21": '1', "4\x003": '3',
	} {
		screen, _ := newConsole(t, "screen")
		serial, keyboard := newConsole(t, "serial")
		if _, err := io.WriteString(keyboard, typed); err != nil {
			t.Fatal(err)
		}
		answer, err := Ask([]Console{screen, serial}, "1, 2 or 3?", "123\n", 90*time.Second, stopped{})
		if answer != (Answer{want, "serial"}) || err != nil {
			t.Errorf("%q: %+v, %v", typed, answer, err)
		}
		for _, c := range []*console{screen, serial} {
			if got := c.text.String(); got != "\r1, 2 or 3? 90 s \r\n" {
				t.Errorf("%s shows %q", c.name, got)
			}
		}
	}
}

// TestNobodyAnswers: the seconds are counted down, in the same line, and then it is
// over; part of a second is a part.
func TestNobodyAnswers(t *testing.T) {
	c, _ := newConsole(t, "serial")
	clock := &moving{}
	answer, err := Ask([]Console{c}, "?", "1", 2500*time.Millisecond, clock)
	if answer != (Answer{}) || err != nil || !clock.now.Equal(time.Time{}.Add(2500*time.Millisecond)) {
		t.Errorf("%+v, %v, at %v", answer, err, clock.now)
	}
	if got := c.text.String(); got != "\r? 3 s \r? 2 s \r? 1 s \r\n" {
		t.Errorf("it shows %q", got)
	}
	if answer, err = Ask(nil, "?", "1", time.Second, &moving{}); answer != (Answer{}) || err != nil {
		t.Errorf("without a console: %+v, %v", answer, err)
	}
}

// gone is a console that was pulled out.
type gone struct{ *console }

func (gone) Read([]byte) (int, error) { return 0, io.EOF }

// TestConsoleGone: a console that cannot be read is named, and keeps nobody from
// answering at another; nor does a file without deadlines.
func TestConsoleGone(t *testing.T) {
	first, _ := newConsole(t, "first")
	serial, keyboard := newConsole(t, "serial")
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.WriteString(keyboard, "1"); err != nil {
		t.Fatal(err)
	}
	answer, err := Ask([]Console{gone{first}, &console{File: file, name: "file"}, serial}, "?", "1", time.Second, stopped{})
	if answer != (Answer{'1', "serial"}) || !errors.Is(err, os.ErrNoDeadline) || !errors.Is(err, io.EOF) {
		t.Errorf("%+v, %v", answer, err)
	}
}

// FuzzKey states: a key is a printable character or Enter, one byte is one key at
// most, and whatever was typed before, Enter twice is Enter.
func FuzzKey(f *testing.F) {
	f.Add([]byte("\x1b[3~2\r"))
	f.Add([]byte("\x1b\x1bO1\xff"))
	f.Fuzz(func(t *testing.T, typed []byte) {
		var d decoder
		for _, b := range typed {
			if key := d.key(b); key != 0 && key != Enter && (key != b || key <= ' ' || key > '~') {
				t.Errorf("%q is the key %q", b, key)
			}
		}
		if d.key('\r'); d.key('\r') != Enter {
			t.Errorf("after %q Enter is none", typed)
		}
	})
}
