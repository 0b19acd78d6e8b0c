package journal

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"phase/appliance/machine/linux"
)

// The log of the kernel that this runs on can be followed, where this user may.
func TestRealKernelLog(t *testing.T) {
	f, err := linux.OpenLog()
	if err != nil {
		t.Skip("the kernel's log cannot be opened here: ", err)
	}
	if _, err := f.Read(make([]byte, maxRecord)); err != nil {
		f.Close()
		t.Skip("the kernel's log is empty or cannot be read here: ", err)
	}
	l := NewLog(io.Discard, time.Now)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	b := l.From(0, 1)
	go func() { ended <- l.FollowKernel(ctx, f, linux.Up, 0) }()
	select {
	case <-b.More:
		end()
	case err := <-ended:
		t.Fatal("it ended before there was a line: ", errors.Join(err))
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	lines, _ := l.Last(1, Query{})
	if at := lines[0].Time; at.After(time.Now().Add(time.Minute)) || at.Before(time.Now().Add(-linux.Up()-time.Minute)) {
		t.Errorf("%+v is of no time since the start, %v ago", lines[0], linux.Up())
	}
}
