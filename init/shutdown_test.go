package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"phase/appliance/machine/control"
)

// TestEndedOnPurpose: a release that came up and is ended has its tries crossed
// out; one that did not come up keeps them.
func TestEndedOnPurpose(t *testing.T) {
	for _, healthy := range []bool{true, false} {
		n := newTestNode(t)
		n.trials.running = onTrial
		want := []string{"stop services", "flush", "restart"}
		if healthy {
			n.trials.stays()
			want = []string{"end guard", "good " + onTrial.String(), "stop services", "flush", "lasted " + onTrial.String(), "restart"}
		}
		_, after := n.handle(control.Request{Do: control.Reboot})
		go after()
		<-n.kernel.ended
		n.events.want(t, want...)
	}
}

// TestJumpFails: after a jump that failed only the firmware is left, and nothing
// begins a second end.
func TestJumpFails(t *testing.T) {
	n := newTestNode(t)
	no := errors.New("no")
	k := &recorder{fail: map[string]error{"jump": no, "restart": no}}
	n.shutdown.kernel = k
	n.shutdown.run(jump)
	n.shutdown.run(powerOff)
	if calls := k.Calls(); !slices.Equal(calls, []string{"jump", "restart"}) {
		t.Errorf("calls %q", calls)
	}
	n.events.want(t, "stop services", "flush")
	if err := n.shutdown.pet(); err != nil { // and nobody pets a machine that is ending
		t.Error(err)
	}
}

// TestWithin: what hangs, as a call to a dead disk does, keeps nobody.
func TestWithin(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	if within(&fakeClock{}, time.Hour, func() { <-hang }) {
		t.Error("what hangs came to an end")
	}
	if !within(wallClock{}, time.Hour, func() {}) {
		t.Error("what ended did not")
	}
}
