package dht

import (
	"testing"
	"time"
)

// A table is filled soon after it has changed, and then less and less often; not
// when it is empty, as there is nobody to ask, nor when it is full.
func TestRefresh(t *testing.T) {
	var r refresh
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// within counts how often it is due in so many seconds.
	within := func(size, connected, seconds int) (n int) {
		for range 2 * seconds {
			if r.due(size, connected, now) {
				n++
			}
			now = now.Add(500 * time.Millisecond)
		}
		return n
	}
	if n := within(0, 0, 100); n != 0 {
		t.Errorf("without a peer it is filled %d times", n)
	}
	if n := within(0, 1, 10); n < 3 {
		t.Errorf("%d times in the 10 seconds in which a peer is connected and not in it", n)
	}
	if n := within(2, 2, 2); n != 1 {
		t.Errorf("%d times in the 2 seconds after the first peers came, want 1", n)
	}
	if n := within(2, 2, 3600); n < 60 || n > 70 {
		t.Errorf("%d times in an hour in which nothing changes, want about 60", n)
	}
	if n := within(1, 1, 2); n != 1 {
		t.Errorf("%d times in the 2 seconds after a peer was lost, want 1", n)
	}
	if n := within(closest, 30, 3600); n != 0 {
		t.Errorf("a full table is filled %d times", n)
	}
}
