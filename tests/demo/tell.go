package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"phase/appliance/base/ui"
)

// teller prints the story: a line a step as it happens, a table at the end.
type teller struct {
	out   io.Writer
	began time.Time
	told  [][]string
}

func newTeller(out io.Writer) *teller { return &teller{out: out, began: time.Now()} }

func (t *teller) title(text string) { fmt.Fprintf(t.out, "\n%s\n\n", text) }

// tell does a step and prints it. On a terminal the step stands there, without
// its mark, while it is going on.
func (t *teller) tell(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	live := ui.IsTerminal(t.out)
	at := time.Since(t.began).Seconds()
	if live {
		fmt.Fprintf(t.out, "%7.1f s  …  %s", at, s.what)
	}
	start := time.Now()
	detail, err := s.do(ctx)
	spent := time.Since(start)
	mark := "✓"
	if err != nil {
		mark, detail = "✗", "did not happen"
	}
	if live {
		fmt.Fprint(t.out, "\r\x1b[K")
	}
	fmt.Fprintf(t.out, "%7.1f s  %s  %s: %s\n", time.Since(t.began).Seconds(), mark, s.what, detail)
	t.told = append(t.told, []string{s.what, ui.Duration(spent), detail})
	return err
}

func (t *teller) summary(dir string) error {
	fmt.Fprintln(t.out)
	if err := ui.Table(t.out, append([][]string{{"STEP", "TOOK", "WHAT WAS SEEN"}}, t.told...)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.out, "\nEverything happened, in %s. The consoles are in %s.\n", ui.Duration(time.Since(t.began)), dir)
	return err
}
