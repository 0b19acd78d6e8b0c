package worker

import (
	"errors"
	"io"
	"sync"
)

// meter counts the bytes of several streams together, passes on no more than
// the limit, and closes over at the first byte beyond it.
type meter struct {
	mu      sync.Mutex
	limited bool
	left    int64
	over    chan struct{} // closed when the limit was exceeded
}

func newMeter(limit int64) *meter {
	return &meter{limited: limit > 0, left: limit, over: make(chan struct{})}
}

var errOutput = errors.New("more output than is allowed")

// take returns how many of n bytes may still pass.
func (m *meter) take(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.limited {
		return n
	}
	may := int(min(int64(n), m.left))
	m.left -= int64(may)
	if may < n && !m.exceeded() {
		close(m.over)
	}
	return may
}

func (m *meter) exceeded() bool {
	select {
	case <-m.over:
		return true
	default:
		return false
	}
}

func (m *meter) writer(to io.Writer) io.Writer { return metered{m, to} }

type metered struct {
	of *meter
	to io.Writer
}

func (w metered) Write(p []byte) (int, error) {
	may := w.of.take(len(p))
	n, err := w.to.Write(p[:may])
	if err == nil && may < len(p) {
		err = errOutput
	}
	return n, err
}
