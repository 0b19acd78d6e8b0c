package qemu

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		line, text string
		kernel     time.Duration
	}{
		{"[    0.000000] Linux version 7.1", "Linux version 7.1", 0},
		{"[   12.345678] init: up\r", "init: up", 12345678 * time.Microsecond},
		{"plain", "plain", -1},
		{"[12] not a stamp", "[12] not a stamp", -1},
		{"\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: loading\x1b[0m", "BdsDxe: loading", -1},
		{"bell\a and \x1b]0;title", "bell and ]0;title", -1},
		{"bad \xff\xfe bytes", "bad \uFFFD bytes", -1},
		{"[999999999999999.000000] far", "[999999999999999.000000] far", -1},
		{"", "", -1},
	} {
		if text, kernel := parseLine(c.line); text != c.text || kernel != c.kernel {
			t.Errorf("parseLine(%q) = %q, %v; want %q, %v", c.line, text, kernel, c.text, c.kernel)
		}
	}
}

// Law: whatever a machine writes, a line's text is printable and one line, and the stamp is never negative but for -1.
func FuzzParseLine(f *testing.F) {
	f.Add("[    1.000000] hello\x1b[0m")
	f.Fuzz(func(t *testing.T, line string) {
		text, kernel := parseLine(line)
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\n\r\x00\x7f") || kernel < -1 {
			t.Errorf("parseLine(%q) = %q, %v", line, text, kernel)
		}
	})
}

func TestConsoleWaits(t *testing.T) {
	var raw bytes.Buffer
	c := newConsole(&raw)
	if _, err := c.Wait(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "never started") {
		t.Errorf("waiting before the first power on: %v", err)
	}
	c.powerOn(nil)
	c.serial([]byte("one\r\ntw"))
	c.serial([]byte("o\n\nthree"))
	got := make(chan Event)
	go func() {
		e, _ := c.Wait(t.Context(), "^thr")
		got <- e
	}()
	c.serial([]byte("!\n"))
	three := <-got
	if three.Text != "three!" {
		t.Errorf("waited for three, got %v", three)
	}
	two, err := c.Wait(t.Context(), "two") // long past
	if err != nil || two.Index >= three.Index {
		t.Errorf("two: %v %v", two, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.WaitAfter(ctx, two, "one|two"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "three!") {
		t.Errorf("the error is %v; want the cancellation and the last lines", err)
	}
	if _, err := c.Wait(t.Context(), "("); err == nil {
		t.Error("a pattern that is none was taken")
	}
	c.serial([]byte("cut in the middle"))
	c.powerOff("power cut")
	if e, err := c.WaitKind(t.Context(), three, PowerOff); err != nil || e.Text != "power cut" {
		t.Errorf("power off: %v %v", e, err)
	}
	if _, err := c.Wait(t.Context(), "^cut in the middle$"); err != nil {
		t.Error(err)
	}
	if raw.String() != "one\r\ntwo\n\nthree!\ncut in the middle" {
		t.Errorf("the raw console is %q", raw.String())
	}
	c.powerOn(nil)
	c.serial(bytes.Repeat([]byte("x"), 3*maxLine))
	c.powerOff("")
	for _, e := range c.Events() {
		if len(e.Text) > maxLine {
			t.Errorf("a line of %d bytes", len(e.Text))
		}
	}
}
