// Package ui writes for a person at a terminal: sizes and times in human units,
// tables, and text from outside made harmless.
package ui

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// cleanMax is how many bytes of a text from outside reach a log line: enough for
// any real name or reason, too few to push other lines off the screen.
const cleanMax = 512

// Bytes writes a size in bytes for people, in binary units: "16.5 MiB".
func Bytes(n int64) string {
	if n < 0 {
		return "-" + Bytes(-n)
	}
	return humanize.IBytesN(uint64(n), 3)
}

// Duration writes d for people with as many digits as they need:
// "350 ms", "4.2 s", "3m20s".
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// Clean makes text from outside fit for one line of a log, a terminal or a
// page: control and other non-printing characters become spaces, bytes that are not
// UTF-8 become U+FFFD, and what is beyond 512 bytes is cut with "…".
func Clean(s string) string {
	cut := false
	if len(s) > cleanMax {
		end := cleanMax
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s, cut = s[:end], true
	}
	s = strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if cut {
		s += "…"
	}
	return s
}

// Table writes rows as columns of equal width. The first row is the heading.
func Table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// IsTerminal says whether a person is likely to be reading w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ErrNo is the error when a person does not confirm.
var ErrNo = errors.New("nothing was written")

// Ask asks a person, and takes only these answers for a yes; anything else is ErrNo.
// At most 256 bytes of an answer are read.
func Ask(in io.Reader, out io.Writer, question string, yes ...string) error {
	if _, err := fmt.Fprint(out, question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(in, 256)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	for _, y := range yes {
		if strings.EqualFold(strings.TrimSpace(answer), y) {
			return nil
		}
	}
	return ErrNo
}

// Count writes n things: "1 provider", "3 providers".
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
