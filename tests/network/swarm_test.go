package network

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"phase/appliance/network/capability/bucket"
	"phase/appliance/release/record"
	"phase/tests/await"
	"phase/tests/storetest"
)

// swarm is a network of tables. The first began it.
type swarm struct {
	t     *testing.T
	on    *internet
	nodes []*table // that live
	born  int
}

// newSwarm starts a network of so many nodes, and waits until all are in it.
func newSwarm(t *testing.T, size int) *swarm {
	t.Helper()
	s := &swarm{t: t, on: newInternet(t)}
	first := s.add()
	first.until(t, "its start", func(state) bool { return true })
	began := time.Now()
	for len(s.nodes) < size {
		s.add(first.address)
	}
	for _, n := range s.nodes {
		n.until(t, "a routing table", func(is state) bool { return is.RoutingTable >= min(3, size-1) })
	}
	t.Logf("%d nodes have a routing table %v after the first was started", size, time.Since(began).Round(time.Millisecond))
	return s
}

// add starts one more node; each fourth only asks.
func (s *swarm) add(bootstrap ...string) *table {
	s.t.Helper()
	s.born++
	n := newTable(s.t, s.on, fmt.Sprintf("n%d", s.born), s.born%4 == 0, bootstrap...)
	s.nodes = append(s.nodes, n)
	return n
}

// remove kills a node as a power cut does.
func (s *swarm) remove(at int) {
	n := s.nodes[at]
	s.nodes = append(s.nodes[:at:at], s.nodes[at+1:]...)
	n.dead.Store(true)
	n.Kill()
}

// tally is what came of many searches.
type tally struct {
	mu               sync.Mutex
	first, far, best times // far are those whose first value was not held by the node itself
	failed           []string
}

func (c *tally) add(by, what string, f found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Problem != "" {
		c.failed = append(c.failed, fmt.Sprintf("%s: %s: %s", by, what, f.Problem))
		return
	}
	c.first, c.best = append(c.first, f.First), append(c.best, f.Best)
	if f.First > 2*hop {
		c.far = append(c.far, f.First)
	}
}

// report logs what came of it; of a hundred searches one may fail.
func (c *tally) report(t *testing.T, what string) {
	t.Helper()
	c.reportOf(t, what, 0)
}

// reportOf also lets so many fail, of fewer. The bounds are generous: they find
// what hangs, on a machine that has other work too.
func (c *tally) reportOf(t *testing.T, what string, mayFail int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%s: first value %v; of those from other nodes %v; in use %v", what, c.first, c.far, c.best)
	tries := len(c.first) + len(c.failed)
	if len(c.failed) > max(mayFail, tries/100) {
		t.Errorf("%s: %d of %d searches failed: %.2000q", what, len(c.failed), tries, c.failed)
	}
	if p95 := c.first.share(0.95); p95 > lookTime {
		t.Errorf("%s: p95 is %v", what, p95)
	}
}

// atOnce is how many searches go on at once.
const atOnce = 8

// everyone has all nodes search for a record and a provider.
func (s *swarm) everyone(what string, key record.Key, version uint64, provided, by string) {
	s.t.Helper()
	var records, providers tally
	slots := make(chan struct{}, atOnce)
	var work sync.WaitGroup
	for _, n := range s.nodes {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f := n.search(key)
			if f.Problem == "" && f.Version != version {
				f.Problem = fmt.Sprintf("version %d", f.Version)
			}
			records.add(n.Name, "record", f)
			if n.peer == by {
				return // nobody finds itself
			}
			f = n.providers(provided)
			if f.Problem == "" && f.Peer != by {
				f.Problem = "it is " + f.Peer
			}
			providers.add(n.Name, "provider", f)
		})
	}
	work.Wait()
	records.report(s.t, what+", manifest")
	providers.report(s.t, what+", capability")
}

// Every node of a network that began with one finds what is published and who
// can do what; also when that one has died without a goodbye; also while nodes
// come and go.
func TestSwarm(t *testing.T) {
	size, swaps := 12, 6
	if all() {
		size, swaps = 50, 30
	}
	s := newSwarm(t, size)
	signer := storetest.NewSigner(t)
	publisher, worker := s.nodes[1], s.nodes[2]          // that serve the DHT
	channels := []string{"stable", "testing", "nightly"} // one for each time that all look
	form := url.Values{}
	var list []record.Record
	for i, channel := range channels {
		r, err := record.Make(signer.Chain, signer.Release(t, channel, "x86_64", uint64(i+1), storetest.Sizes).Envelope(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
		form.Add("key", r.Key().String())
		form.Add("value", string(r.Value()))
	}
	publisher.order(t, "/publish", form)
	buckets := bucket.Of("arm64", 4, 3000)
	worker.order(t, "/provide", url.Values{"bucket": buckets})
	holders := func() (records, providers int) {
		for _, n := range s.nodes {
			var is state
			if n.ask("/state", nil, &is) == nil {
				records, providers = records+is.Records, providers+is.Providers
			}
		}
		return records, providers
	}
	s.until("what was published to be held", func() bool {
		records, providers := holders()
		return records >= 3*min(size, 8) && providers >= 3*min(size, 8)-3
	})
	s.until("the end of what a start costs", s.on.quiet(20*size))
	look := func(i int, what string) {
		t.Helper()
		s.everyone(what, list[i].Key(), list[i].Version(), buckets[i], worker.peer)
	}
	look(0, "all live")
	s.remove(0)
	look(1, "the first has just died")
	s.churn(swaps, list[2].Key(), buckets[2], publisher, worker)
	look(2, "after nodes came and went")
	for _, n := range s.nodes[:3] {
		var is state
		if err := n.ask("/state", nil, &is); err != nil {
			t.Error(err)
		}
		t.Logf("%s: %d peers connected, %d in the routing table, %d records, %d providers", n.Name, is.Connected, is.RoutingTable, is.Records, is.Providers)
	}
}

// churn replaces nodes one after the other, all but those that are kept, while
// others search.
func (s *swarm) churn(swaps int, key record.Key, provided string, kept ...*table) {
	s.t.Helper()
	var records, providers tally
	var starts times
	var work sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for range swaps {
		at := slices.IndexFunc(s.nodes, func(n *table) bool { return !slices.Contains(kept, n) })
		s.remove(at) // the oldest
		began := time.Now()
		s.add(s.any().address, s.any().address)
		for range 5 {
			n := s.nodes[rand.IntN(len(s.nodes)-1)] // but for the youngest, which is not up yet
			slots <- struct{}{}
			work.Go(func() {
				defer func() { <-slots }()
				if f := n.search(key); f.Problem == "" || !n.dead.Load() {
					records.add(n.Name, "record", f)
				}
				if n == kept[1] {
					return
				}
				if f := n.providers(provided); f.Problem == "" || !n.dead.Load() {
					providers.add(n.Name, "provider", f)
				}
			})
		}
		s.nodes[len(s.nodes)-1].until(s.t, "a routing table", func(is state) bool { return is.RoutingTable > 0 })
		starts = append(starts, time.Since(began))
	}
	work.Wait()
	s.t.Logf("nodes come and go: from its start to a routing table %v", starts)
	// Half of twelve nodes die within two seconds, and each that asks may itself be
	// one that has just come, whose peers have just died.
	records.reportOf(s.t, "nodes come and go, manifest", 2)
	providers.reportOf(s.t, "nodes come and go, capability", 2)
}

// any is a node that serves the DHT and is not the youngest.
func (s *swarm) any() *table {
	for {
		if n := s.nodes[rand.IntN(len(s.nodes)-1)]; !n.asks {
			return n
		}
	}
}

func (s *swarm) until(what string, happened func() bool) {
	s.t.Helper()
	if err := await.Until(s.t.Context(), happened); err != nil {
		s.t.Fatalf("waiting for %s: %v", what, err)
	}
}
