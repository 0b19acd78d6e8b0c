package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Machine is a network namespace with a loopback, interfaces and the programs
// that the test starts in it. It needs no process to exist; it and its programs
// are gone at the end of the test, and with the test process however that ends.
type Machine struct {
	Name string
	ns   *os.File
	work chan func()
	done chan struct{} // closed when its thread has ended
}

// NeedRoot skips the test, or fails it under make, when it cannot make network
// namespaces.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("PHASE_REQUIRE") != "" {
		t.Fatal("needs root, to make network namespaces")
	}
	t.Skip("needs root, to make network namespaces")
}

// NewMachine makes a machine with nothing but a loopback, which is raised.
func NewMachine(t testing.TB, name string) *Machine {
	t.Helper()
	NeedRoot(t)
	neighbours()
	m := &Machine{Name: name, work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go m.live(ready)
	if err := <-ready; err != nil {
		t.Fatalf("%s: making its network namespace: %v", name, err)
	}
	t.Cleanup(func() {
		close(m.work)
		<-m.done
		m.ns.Close()
	})
	m.Do(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return m
}

// neighbours gives all machines together room for their neighbours: the kernel
// has one table for all namespaces, of 1024 by default, and where it is full no
// packet leaves any of them.
var neighbours = sync.OnceFunc(func() {
	for _, family := range []string{"ipv4", "ipv6"} {
		path := "/proc/sys/net/" + family + "/neigh/default/gc_thresh3"
		data, err := os.ReadFile(path) // it is there for the first namespace alone
		if room, bad := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && bad == nil && room < maxNeighbours {
			_ = os.WriteFile(path, []byte(strconv.Itoa(maxNeighbours)), 0o644) // small tests do without
		}
	}
})

// maxNeighbours is for a hundred machines that all know each other.
const maxNeighbours = 32768

// live is the machine's thread: what is done in the machine is done on it. It
// stays locked and so ends with the goroutine; the programs that were started
// from it are killed then (Pdeathsig).
func (m *Machine) live(ready chan<- error) {
	defer close(m.done)
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		m.ns, err = os.Open("/proc/thread-self/ns/net")
	}
	ready <- err
	if err != nil {
		return
	}
	for f := range m.work {
		f()
	}
}

// Try runs f in the machine's namespace: sockets opened in f belong to the
// machine. f must not start goroutines that open more, nor call t.Fatal.
func (m *Machine) Try(f func() error) error {
	result := make(chan error)
	m.work <- func() { result <- f() }
	if err := <-result; err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// Do is Try for what must work.
func (m *Machine) Do(t testing.TB, f func() error) {
	t.Helper()
	if err := m.Try(f); err != nil {
		t.Fatal(err)
	}
}

// Route has the machine send what goes to prefix through the gateway via.
func (m *Machine) Route(t testing.TB, prefix, via string) {
	t.Helper()
	m.Do(t, func() error {
		to, err := netlink.ParseIPNet(prefix)
		if err != nil {
			return err
		}
		gateway, err := netip.ParseAddr(via)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: to, Gw: gateway.AsSlice()})
	})
}

// Forward makes the machine a router for both address families.
func (m *Machine) Forward(t testing.TB) {
	t.Helper()
	m.Sysctl(t, "net/ipv4/ip_forward", "1")
	m.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
}

// Sysctl writes a setting of the machine's namespace, key below /proc/sys.
func (m *Machine) Sysctl(t testing.TB, key, value string) {
	t.Helper()
	m.Do(t, func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) })
}

// SetMTU gives an interface of the machine another MTU.
func (m *Machine) SetMTU(t testing.TB, name string, mtu int) {
	t.Helper()
	m.Do(t, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, mtu)
	})
}

// AddAddress gives an interface of the machine an address, in CIDR notation.
func (m *Machine) AddAddress(t testing.TB, name, prefix string) {
	t.Helper()
	m.Do(t, func() error { return withAddress(name, prefix, netlink.AddrAdd) })
}

// RemoveAddress takes it away again, and with it the routes that need it.
func (m *Machine) RemoveAddress(t testing.TB, name, prefix string) {
	t.Helper()
	m.Do(t, func() error { return withAddress(name, prefix, netlink.AddrDel) })
}

func withAddress(name, prefix string, do func(netlink.Link, *netlink.Addr) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	return do(l, address)
}
