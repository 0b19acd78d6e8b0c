package network

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"phase/appliance/daemon/api"
	"phase/tests/storetest"
)

// looks has each of the daemons look at something, a few at once.
func looks(daemons []*daemon, each func(*daemon)) {
	slots := make(chan struct{}, atOnce)
	var work sync.WaitGroup
	for _, d := range daemons {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			each(d)
		})
	}
	work.Wait()
}

// The whole of plasmd: each daemon of a network that began with one finds the
// release of a provider, and has the one node that is large enough run a job;
// also when the one that all began with has just died.
func TestDaemons(t *testing.T) {
	size := 8
	if all() {
		size = 24
	}
	plasmd, w, signer := plasmd(t), newInternet(t), storetest.NewSigner(t)
	root := write(t, filepath.Join(t.TempDir(), "root.json"), signer.Root.Raw())
	small := daemonArgs{root: root, memoryMB: 512, flags: []string{"--accept", "all"}}
	large := small
	large.memoryMB = 3000
	first := startDaemon(t, w, plasmd, "first", small)
	first.until(t, "its start", func(api.Peers) bool { return true })
	worker := startDaemon(t, w, plasmd, "worker", large, first.address)
	var others []*daemon
	for n := range size {
		others = append(others, startDaemon(t, w, plasmd, fmt.Sprintf("d%d", n+1), small, first.address))
	}
	_, provider := startProvider(t, w, plasmd, "provider", signer, 7, first.address)
	for _, d := range append(others, worker) {
		d.until(t, "a routing table", func(p api.Peers) bool { return p.RoutingTable >= 3 })
	}
	look := func(what string) {
		t.Helper()
		var releases, jobs tally
		looks(others, func(d *daemon) {
			f := d.release(t)
			if f.Problem == "" && (f.Version != 7 || f.Peer != provider) {
				f.Problem = fmt.Sprintf("version %d of %s", f.Version, f.Peer)
			}
			releases.add(d.Name, "release", f)
			f = d.job(t, 2000)
			if f.Problem == "" && f.Peer != worker.peer {
				f.Problem = "it ran on " + f.Peer
			}
			jobs.add(d.Name, "job", f)
		})
		releases.report(t, what+", release")
		jobs.report(t, what+", job")
	}
	look("all live")
	first.Kill()
	look("the first has just died")
}

// Two fleets, each with keys of its own, share one DHT: both find their releases,
// and neither takes the other's.
func TestTwoFleets(t *testing.T) {
	few, many := 1, 4
	if all() {
		few, many = 3, 17
	}
	plasmd, w := plasmd(t), newInternet(t)
	type fleet struct {
		provider string
		version  uint64
		daemons  []*daemon
	}
	var fleets []*fleet
	var bootstrap []string
	for i, size := range []int{few, many} {
		signer := storetest.NewSigner(t)
		root := write(t, filepath.Join(t.TempDir(), "root.json"), signer.Root.Raw())
		f := &fleet{version: uint64(7 + i)}
		for n := range size {
			d := startDaemon(t, w, plasmd, fmt.Sprintf("fleet%d-%d", i+1, n+1), daemonArgs{root: root, memoryMB: 512}, bootstrap...)
			if bootstrap == nil {
				d.until(t, "its start", func(api.Peers) bool { return true })
				bootstrap = []string{d.address}
			}
			f.daemons = append(f.daemons, d)
		}
		_, f.provider = startProvider(t, w, plasmd, fmt.Sprintf("provider%d", i+1), signer, f.version, bootstrap...)
		fleets = append(fleets, f)
	}
	for i, f := range fleets {
		for _, d := range f.daemons {
			d.until(t, "a routing table", func(p api.Peers) bool { return p.RoutingTable >= few+many-1 })
		}
		var releases tally
		looks(f.daemons, func(d *daemon) {
			found := d.release(t)
			if found.Problem == "" && (found.Version != f.version || found.Peer != f.provider) {
				found.Problem = fmt.Sprintf("version %d of %s", found.Version, found.Peer)
			}
			releases.add(d.Name, "release", found)
		})
		releases.report(t, fmt.Sprintf("fleet %d", i+1))
	}
}
