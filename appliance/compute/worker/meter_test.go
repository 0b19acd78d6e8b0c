package worker

import (
	"bytes"
	"testing"
)

// No more passes than is allowed, however it is divided.
func TestMeter(t *testing.T) {
	for _, size := range []int{1, 3, 10, 11, 100} {
		m := newMeter(10)
		var out, errs bytes.Buffer
		for range 12 {
			_, _ = m.writer(&out).Write(make([]byte, size))
			_, _ = m.writer(&errs).Write(make([]byte, size))
		}
		if out.Len()+errs.Len() != 10 || !m.exceeded() {
			t.Errorf("by %d: %d and %d bytes passed, exceeded %v", size, out.Len(), errs.Len(), m.exceeded())
		}
	}
	m := newMeter(10)
	var out bytes.Buffer
	if n, err := m.writer(&out).Write(make([]byte, 10)); n != 10 || err != nil || m.exceeded() {
		t.Errorf("what just fits: %d, %v", n, err)
	}
	if n, err := newMeter(0).writer(&out).Write(make([]byte, 1000)); n != 1000 || err != nil {
		t.Errorf("without a limit: %d, %v", n, err)
	}
}
