package tasks

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// sayAgain is how often what expires soon is said again, look how often it is
// looked for.
const (
	sayAgain = 24 * time.Hour
	look     = time.Hour
)

// Expiry logs what expires soon, at its start and whenever that is another thing
// than before, and once a day.
func Expiry(endings func() []string, log io.Writer) Task {
	return New(func(ctx context.Context, ready func()) error {
		again := time.NewTicker(look)
		defer again.Stop()
		var said []string
		var at time.Time
		for {
			if now := endings(); !slices.Equal(now, said) || time.Since(at) >= sayAgain {
				for _, line := range now {
					fmt.Fprintf(log, "problem: %s\n", line)
				}
				said, at = now, time.Now()
			}
			ready()
			select {
			case <-ctx.Done():
				return nil
			case <-again.C:
			}
		}
	})
}
