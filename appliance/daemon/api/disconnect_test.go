package api

import (
	"context"
	"crypto/sha256"
	"net/http/httptest"
	"testing"

	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
	"phase/tests/await"
)

// flood is an input without an end, of which a module reads nothing.
type flood struct{}

func (flood) Read(p []byte) (int, error) { return len(p), nil }

func (flood) Sum() (sum [sha256.Size]byte) { return sum }

// A requester that leaves ends its job, though what it was sending has not been
// read.
func TestLeavingWithInputUnread(t *testing.T) {
	path, _, kept := socketServer(t)
	c, _ := node(t)
	handler, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.Config.ConnContext = Peer
	s.Start()
	t.Cleanup(s.Close)
	for name, node := range map[string]struct {
		*Client
		*history.History
	}{"socket": {NewClient(path), kept}, "HTTP": {NewNodeClient(s.URL, token), c.History}} {
		spec, err := job.New(job.Default(loop)) // for a minute
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := node.Execute(ctx, scheduler.Offer{Spec: spec, Module: modulecache.NewModule(loop), Nonce: scheduler.NewNonce(), Input: flood{}})
			ended <- err
		}()
		until := func(is func(history.State) bool) history.Run {
			var list []history.Run
			var problem error
			if err := await.Until(t.Context(), func() bool {
				list, _, problem = node.List("", 1)
				return problem != nil || len(list) == 1 && is(list[0].State)
			}); err != nil || problem != nil {
				t.Fatal(err, problem)
			}
			return list[0]
		}
		until(func(s history.State) bool { return s == history.Running })
		leave()
		if err := <-ended; err == nil {
			t.Errorf("%s: who left got an answer", name)
		}
		if run := until(history.State.Over); run.Outcome == nil || *run.Outcome != job.Cancelled {
			t.Errorf("%s: %+v, want the outcome cancelled", name, run)
		}
	}
}
