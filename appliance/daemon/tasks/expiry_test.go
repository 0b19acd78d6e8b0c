package tasks

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What expires soon is said at once when it is new, and once a day.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var log bytes.Buffer
		// An atomic value, as a fake clock that moves does not order the two goroutines.
		var ends atomic.Pointer[[]string]
		ends.Store(new([]string))
		task := Expiry(func() []string { return *ends.Load() }, &log)
		done := make(chan error, 1)
		go func() { done <- task.Run(ctx) }()
		<-task.Ready()
		for i, step := range []struct {
			wait time.Duration
			ends []string
			want string
		}{
			{time.Hour, nil, ""},
			{time.Hour, []string{"root"}, "problem: root\n"},
			{20 * time.Hour, []string{"root"}, "problem: root\n"},
			{time.Hour, []string{"root", "release"}, "problem: root\nproblem: root\nproblem: release\n"},
			{24 * time.Hour, []string{"release"}, "problem: root\nproblem: root\nproblem: release\nproblem: release\n"},
			{24 * time.Hour, []string{"release"}, "problem: root\nproblem: root\nproblem: release\nproblem: release\nproblem: release\n"},
		} {
			ends.Store(&step.ends)
			<-time.After(step.wait + time.Minute)
			synctest.Wait()
			if log.String() != step.want {
				t.Errorf("step %d: %q, want %q", i, log.String(), step.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
