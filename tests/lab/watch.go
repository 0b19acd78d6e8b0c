package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"phase/qemu"
)

// How a Watch asks: so often that what it times is right to within that, and each
// time for no longer than a machine that is up needs.
const (
	watchPace     = 50 * time.Millisecond
	watchPatience = time.Second
)

// Watch asks a node for "/" over its segment, from power on to the end, whether it
// is there or not, and notes each 200: what those who use the node see of it.
type Watch struct {
	host *qemu.Host
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	answers []time.Time // when each was read whole, in order
	changed chan struct{}
}

// WatchNode begins to ask a node. It goes on until Close.
func WatchNode(ctx context.Context, n *Node) (*Watch, error) {
	nic := n.Config().NICs[0]
	host, err := nic.Segment.NewHost("watch")
	if err != nil {
		return nil, err
	}
	if err := host.Know(n.Addr(), nic.MAC); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	w := &Watch{host: host, changed: make(chan struct{})}
	ctx, w.stop = context.WithCancel(ctx)
	w.work.Go(func() { w.ask(ctx, n.URL()+"/") })
	return w, nil
}

func (w *Watch) ask(ctx context.Context, url string) {
	client := w.host.HTTPClient()
	pace := time.NewTicker(watchPace)
	defer pace.Stop()
	for {
		w.work.Go(func() {
			if once(ctx, client, url) == nil {
				w.note(time.Now())
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
	}
}

// once asks and reads the answer to its end.
func once(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return err
}

func (w *Watch) note(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, at)
	close(w.changed)
	w.changed = make(chan struct{})
}

// First is when the first answer came after a moment; it waits for it.
func (w *Watch) First(ctx context.Context, after time.Time) (time.Time, error) {
	for {
		w.mu.Lock()
		answers, changed := w.answers, w.changed
		w.mu.Unlock()
		for _, at := range answers {
			if at.After(after) {
				return at, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("asking the node over the segment: %w", ctx.Err())
		}
	}
}

// Last is when the last answer came before a moment; zero when none did.
func (w *Watch) Last(before time.Time) (last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.answers {
		if at.Before(before) {
			last = at
		}
	}
	return last
}

// Close ends the questions.
func (w *Watch) Close() error {
	w.stop()
	w.work.Wait()
	return w.host.Close()
}
