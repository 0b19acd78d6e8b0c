package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"phase/qemu"
)

const help = "ctrl-a x: cut the power and leave   ctrl-a p: power button   ctrl-a r: reset button   " +
	"ctrl-a c: cut the power and switch on again   ctrl-a ctrl-a: send ctrl-a"

// terminal is the person's side of the console. When stdin is a terminal it is raw, so that every key but ctrl-a goes to the
// machine, ctrl-c too; anything else, a pipe, goes to the machine as it is.
type terminal struct {
	in      io.Reader
	log     io.Writer
	newline string
	keys    chan byte
	restore func()
}

func openTerminal(in io.Reader, log io.Writer) (*terminal, error) {
	t := &terminal{in: in, log: log, newline: "\n", keys: make(chan byte), restore: func() {}}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		old, err := term.MakeRaw(int(f.Fd()))
		if err != nil {
			return nil, fmt.Errorf("setting the terminal up for the console: %w", err)
		}
		t.newline, t.restore = "\r\n", func() { term.Restore(int(f.Fd()), old) }
	}
	return t, nil
}

func (t *terminal) say(format string, args ...any) {
	fmt.Fprintf(t.log, "qemu: "+format+t.newline, args...)
}

// read types what comes in on the machine's console and takes the keys for us out of it.
func (t *terminal) read(m *qemu.Machine) {
	var keys escape
	if t.newline == "\n" {
		keys.off = true
	}
	buf := make([]byte, 1024)
	for {
		n, err := t.in.Read(buf)
		text, ours := keys.split(buf[:n])
		if len(text) > 0 {
			m.Console.Write(text) // a machine that is off has no keyboard
		}
		for _, k := range ours {
			t.keys <- k
		}
		if err != nil {
			return
		}
	}
}

// escape takes "ctrl-a KEY" out of a stream of keys.
type escape struct {
	off, pending bool
}

const ctrlA = 1

func (e *escape) split(in []byte) (text, ours []byte) {
	for _, b := range in {
		switch {
		case e.off:
			text = append(text, b)
		case e.pending:
			e.pending = false
			if b == ctrlA {
				text = append(text, b)
			} else {
				ours = append(ours, b)
			}
		case b == ctrlA:
			e.pending = true
		default:
			text = append(text, b)
		}
	}
	return text, ours
}

// until serves the keys for us until the machine is off.
func (t *terminal) until(ctx context.Context, m *qemu.Machine) error {
	for {
		var err error
		select {
		case <-m.Done():
			return m.Wait(context.WithoutCancel(ctx))
		case k := <-t.keys:
			switch k {
			case 'x':
				m.Kill()
			case 'p':
				err = m.PowerButton(ctx)
			case 'r':
				err = m.Reset(ctx)
			case 'c':
				last := m.Console.Last()
				if err = m.PowerCycle(ctx); err == nil {
					go t.report(ctx, m, last)
				}
			default:
				t.say("%s", help)
			}
		}
		if err != nil {
			t.say("%v", err)
		}
	}
}

// report says what happens to the machine beside its console, until it is off.
func (t *terminal) report(ctx context.Context, m *qemu.Machine, after qemu.Event) {
	for {
		e, err := m.Console.WaitFunc(ctx, after, "an event", func(e qemu.Event) bool { return e.Kind != qemu.Line })
		if err != nil {
			return
		}
		switch after = e; e.Kind {
		case qemu.Reset, qemu.Watchdog, qemu.Stopped:
			t.say("%s %s", e.Kind, e.Text)
		}
	}
}
