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
	*netlab.Switch
	router *netlab.Machine
	sites  int
}

const (
	hop      = 20 * time.Millisecond // from one machine to another
	maxSites = 120
)

func newInternet(t testing.TB) *internet {
	t.Helper()
	w := &internet{Switch: netlab.NewSwitch(t, "internet", netlab.Wire{Delay: hop / 2}), router: netlab.NewMachine(t, "router")}
	var addresses []string
	for n := range maxSites {
		addresses = append(addresses, fmt.Sprintf("45.45.%d.1/24", n+1))
	}
	w.router.Forward(t)
	for _, of := range []string{"all", "default"} { // they share a wire, and are not to know
		w.router.Sysctl(t, "net/ipv4/conf/"+of+"/send_redirects", "0")
	}
	w.Join(t, w.router, "all0", addresses...)
	return w
}

// machine makes a machine with an address that looks public.
func (w *internet) machine(t testing.TB, name string) (m *netlab.Machine, ip string) {
	t.Helper()
	if w.sites++; w.sites > maxSites {
		t.Fatalf("%d machines, at most %d", w.sites, maxSites)
	}
	m, ip = netlab.NewMachine(t, name), fmt.Sprintf("45.45.%d.2", w.sites)
	w.Join(t, m, "eth0", ip+"/24")
	m.Route(t, "45.45.0.0/16", fmt.Sprintf("45.45.%d.1", w.sites))
	return m, ip
}
