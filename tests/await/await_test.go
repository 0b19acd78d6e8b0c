package await

import (
	"context"
	"errors"
	"testing"
)

func TestUntil(t *testing.T) {
	asked := 0
	if err := Until(t.Context(), func() bool { asked++; return asked == 3 }); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if err := Until(ctx, func() bool { return false }); !errors.Is(err, gone) {
		t.Errorf("after the end of its context: %v", err)
	}
	if err := Until(ctx, func() bool { return true }); err != nil {
		t.Errorf("what has happened already: %v", err)
	}
}
