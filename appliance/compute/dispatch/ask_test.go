package dispatch_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"phase/appliance/compute/dispatch"
	"phase/appliance/compute/remote"
	"phase/appliance/network/capability"
	"phase/appliance/network/frame"
	"phase/tests/await"
	"phase/tests/nodes"
)

// Peers of which only the id is known are asked, those that do not answer are
// left out, and a job finds its node.
func TestABookFindsNodes(t *testing.T) {
	n := nodes.NewNetwork()
	a, b := n.Start(t, "all", nil), n.Start(t, "none", nil)
	silent := nodes.NewID(t).PeerID()
	left := make(chan struct{})
	n.Serve(t, silent, func(_, _ string, s frame.Stream) { <-left; s.Close() })
	t.Cleanup(func() { close(left) })
	client := &remote.Client{Dial: n.Dial(nodes.NewID(t).PeerID()), Times: nodes.Quick}
	book := dispatch.NewBook(client.Record, time.Minute)
	peers := func(ctx context.Context, want capability.Requirement) <-chan string {
		ids := make(chan string, 9)
		for _, id := range []string{nodes.NewID(t).PeerID(), silent, b.Peer(), a.Peer(), a.Peer()} {
			ids <- id
		}
		close(ids)
		return ids
	}
	d := &dispatch.Dispatcher{Client: client, Find: book.Find(peers, dispatch.Times{Ask: 100 * time.Millisecond})}
	done, err := d.Run(t.Context(), auto, nodes.Offer(t, nodes.Says("hello", false), nil, nil), remote.Progress{})
	if err != nil || string(done.Stdout) != "hello" || done.Worker != a.Peer() || len(done.Attempts) != 1 {
		t.Errorf("%v, %+v", err, done)
	}
}

// An answer is kept for a while and no longer.
func TestAnswersAreKept(t *testing.T) {
	asked := 0
	expires := time.Now().Add(time.Hour)
	ask := func(_ context.Context, peerID string) (capability.Candidate, error) {
		if asked++; peerID == "gone" {
			return capability.Candidate{}, errors.New("gone")
		}
		return capability.Candidate{Record: capability.Record{PeerID: peerID, Expires: expires}}, nil
	}
	for _, c := range []struct {
		keep    time.Duration
		expires time.Time
		peers   []string
		asked   int
	}{
		{time.Hour, expires, []string{"a", "a", "b", "a"}, 2},
		{time.Nanosecond, expires, []string{"a", "a"}, 2},
		{time.Hour, time.Now().Add(-time.Second), []string{"a", "a"}, 2},
		{time.Hour, expires, []string{"gone", "gone"}, 2},
	} {
		asked, expires = 0, c.expires
		book := dispatch.NewBook(ask, c.keep)
		for _, p := range c.peers {
			_, _ = book.Record(t.Context(), p)
		}
		if asked != c.asked {
			t.Errorf("%+v: %d were asked", c, asked)
		}
	}
}

// A search that has found enough asks no more, and leaves nothing behind.
func TestASearchEnds(t *testing.T) {
	var asked atomic.Int64
	book := dispatch.NewBook(func(ctx context.Context, peerID string) (capability.Candidate, error) {
		asked.Add(1)
		return fits(peerID, 0), nil
	}, 0)
	over := make(chan struct{})
	find := book.Find(func(ctx context.Context, _ capability.Requirement) <-chan string {
		ids := make(chan string)
		go func() {
			defer close(over)
			for {
				id := nodes.NewID(t).PeerID()
				select {
				case ids <- id:
				case <-ctx.Done():
					return
				}
			}
		}()
		return ids
	}, dispatch.Times{})
	ctx, cancel := context.WithCancel(t.Context())
	found := find(ctx, capability.Requirement{})
	for range 1000 {
		if _, more := <-found; !more {
			break
		}
	}
	if n := asked.Load(); n > 512 {
		t.Errorf("%d nodes were asked for one job", n)
	}
	cancel()
	<-over
	if err := await.Until(t.Context(), func() bool {
		select {
		case _, more := <-found:
			return !more
		default:
			return false
		}
	}); err != nil {
		t.Error(err)
	}
}
