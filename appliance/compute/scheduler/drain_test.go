package scheduler

import (
	"context"
	"strings"
	"testing"
	"time"

	"phase/appliance/compute/job"
)

// TestDrain: what runs has time, what waits and what is new is sent away and told
// why, and all is as before once the node does not restart after all.
func TestDrain(t *testing.T) {
	r, _ := node(t, wide)
	runs := begin(t, r, offer(t, loop, nil), true)
	waits := begin(t, r, offer(t, least, nil), false)
	drained := make(chan int)
	go func() { drained <- r.Drain(t.Context(), time.Hour) }()
	if err := <-waits.end; rejected(err) != QueueFull || !strings.Contains(err.Error(), "about to restart") {
		t.Errorf("what waited: %v", err)
	}
	if _, err := r.Enter("a"); rejected(err) != QueueFull || !strings.Contains(err.Error(), "about to restart") {
		t.Errorf("a new one: %v", err)
	}
	if _, err := r.Cancel(runs.runID); err != nil {
		t.Fatal(err)
	}
	if err := <-runs.end; err != nil || runs.done.Outcome != job.Cancelled {
		t.Errorf("what ran: %+v, %v", runs.done, err)
	}
	if left := <-drained; left != 0 {
		t.Errorf("%d are left", left)
	}
	r.Undrain()
	b := begin(t, r, offer(t, loop, nil), true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if left := r.Drain(ctx, time.Hour); left != 1 {
		t.Errorf("%d are left when nobody waits", left)
	}
	if left := r.Drain(t.Context(), time.Millisecond); left != 1 {
		t.Errorf("%d are left after the time", left)
	}
	if _, err := r.Cancel(b.runID); err != nil {
		t.Fatal(err)
	}
	<-b.end
}
