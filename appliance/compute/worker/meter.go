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
	*meter
	to io.Writer
}

func (w metered) Write(p []byte) (int, error) {
	w.mu.Lock()
	may := len(p)
	if w.limited {
		may = int(min(int64(may), w.left))
		w.left -= int64(may)
	}
	over := may < len(p)
	if over && !w.exceeded() {
		close(w.over)
	}
	w.mu.Unlock()
	n, err := w.to.Write(p[:may])
	if err == nil && over {
		err = errOutput
	}
	return n, err
}
