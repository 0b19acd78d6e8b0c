package scheduler

import (
	"io"
	"slices"
	"testing"
	"time"

	"phase/appliance/compute/job"
)

// TestASlowReader: a module is dead at its deadline however slowly its output
// is read, and what it wrote until then arrives.
func TestASlowReader(t *testing.T) { thrice(slowReader)(t) }

func slowReader(t *testing.T) error {
	const writes = 12 // more than is read at once, less than a pipe holds
	body := slices.Concat(slices.Concat(slices.Repeat([][]byte{write}, writes)...), forever())
	slow := task(assembled{imports: []string{"fd_write"}, memory: pages(1), data: vec, bodies: [][]byte{body}}.bytes())
	slow.Timeout, slow.OutputBytes = time.Second, 1<<20
	asleep := time.After(slow.Timeout + 2*patience(100*time.Millisecond))
	got := 0
	slow.Stdout, slow.Stderr = writerFunc(func(b []byte) (int, error) {
		if got == 0 {
			<-asleep
		}
		got += len(b)
		return len(b), nil
	}), io.Discard
	result, err := Run(t.Context(), slow)
	if err != nil || result.Outcome != job.Timeout || got != writes*4096 {
		t.Errorf("%+v, %v, %d bytes of %d arrived", result, err, got, writes*4096)
	}
	return onTime(result.Started.Add(slow.Timeout), result.Finished)
}
