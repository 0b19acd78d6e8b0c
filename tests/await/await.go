// Package await has tests wait for what cannot tell when it happens: the state
// of a run, the answer of a server. A test that has an event waits for that.
package await

import (
	"context"
	"errors"
	"time"
)

// Patience is how long Until goes on. It ends a test that hangs; it is no
// measure of speed.
const Patience = time.Minute

// ErrNever says that it did not happen.
var ErrNever = errors.New("not within a minute")

// Until asks every 10 ms until it happened. It returns ErrNever once Patience
// is over, and the cause of the context's end if that comes first.
func Until(ctx context.Context, happened func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Patience, ErrNever)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
