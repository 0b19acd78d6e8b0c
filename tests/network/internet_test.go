package network

import (
	"fmt"
	"testing"
	"time"

	"phase/tests/netlab"
)

// internet joins machines that are alone on their networks, by one router: no
// multicast goes from one to another. It is also what keeps the kernel's table of
// neighbours small, which all namespaces share: on one network fifty machines
// would be 2450 entries of the 1024 it has room for.
type internet struct {
	router *netlab.Machine
	sites  []*netlab.Switch
}

// hop is how long a frame takes from one machine to another.
const hop = 20 * time.Millisecond

func newInternet(t testing.TB) *internet {
	t.Helper()
	w := &internet{router: netlab.NewMachine(t, "router")}
	w.router.Forward(t)
	return w
}

// machine makes a machine with an address that looks public.
func (w *internet) machine(t testing.TB, name string) (m *netlab.Machine, ip string) {
	t.Helper()
	m, at := netlab.NewMachine(t, name), len(w.sites)+1
	site := netlab.NewSwitch(t, name, netlab.Wire{Delay: hop / 2})
	w.sites = append(w.sites, site)
	gateway := fmt.Sprintf("45.45.%d.1", at)
	site.Join(t, w.router, fmt.Sprintf("site%d", at), gateway+"/24")
	ip = fmt.Sprintf("45.45.%d.2", at)
	site.Join(t, m, "eth0", ip+"/24")
	m.Route(t, "45.45.0.0/16", gateway)
	return m, ip
}

// quiet says whether fewer than so many frames a second went since the last
// call, one a second at most.
func (w *internet) quiet(most int) func() bool {
	last, frames := time.Now(), w.frames()
	return func() bool {
		since := time.Since(last)
		if since < time.Second {
			return false
		}
		now := w.frames()
		calm := float64(now-frames)/since.Seconds() < float64(most)
		last, frames = time.Now(), now
		return calm
	}
}

func (w *internet) frames() (n int) {
	for _, s := range w.sites {
		n += s.Counts().Received
	}
	return n
}
