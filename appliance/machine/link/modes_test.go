package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"phase/appliance/machine/settings"
	"phase/tests/netlab"
)

// The segment of these tests has all that a segment at home has: a router to
// everywhere that gives addresses of both families, names servers near and far,
// and wants to be the way to all networks.
const (
	makersMAC = "52:54:00:12:34:56"
	nodeName  = "phase-1a2b3c4d"
)

// onLink are the prefixes of the segment, and what never leaves one.
var onLink = []netip.Prefix{
	netip.MustParsePrefix("10.7.0.0/24"), netip.MustParsePrefix("fd07::/64"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/24"), netip.MustParsePrefix("ff02::/16"), netip.MustParsePrefix("255.255.255.255/32"),
}

func newSegment(t *testing.T) (lan *netlab.Switch, leases string) {
	t.Helper()
	lan = netlab.NewSwitch(t, "lan", netlab.Wire{})
	router := netlab.NewMachine(t, "router")
	lan.Join(t, router, "in0", "10.7.0.1/24", "fd07::1/64")
	_, leases = router.Dnsmasq(t, "in0",
		"--dhcp-range=10.7.0.10,10.7.0.99,255.255.255.0,1h",
		"--dhcp-option=option:router,10.7.0.1",
		"--dhcp-option=option:dns-server,9.9.9.9,10.7.0.1",
		"--dhcp-option=option:ntp-server,45.45.45.123",
		"--dhcp-option=option:classless-static-route,0.0.0.0/0,10.7.0.1,45.45.45.0/24,10.7.0.1",
		"--enable-ra", "--ra-param=in0,high,5,600", "--dhcp-range=fd07::,ra-only,64,1h",
		"--dhcp-option=option6:dns-server,[2620:fe::9],[fd07::1]")
	return lan, leases
}

// booted is one boot of the machine: its own namespace, with the interface as
// its maker made it.
type booted struct {
	*netlab.Machine
	has    []netip.Addr
	resolv string
	off    func()
}

func boot(t *testing.T, lan *netlab.Switch, mode settings.Mode) booted {
	t.Helper()
	resolv := resolvPath(t)
	node := booted{Machine: netlab.NewMachine(t, "node"), resolv: resolv}
	port := lan.Wired(t, node.Machine, "eth0", makersMAC)
	p := node.Again(t, "manager", lab{Settings: settings.Options{Mode: mode}, HostName: nodeName, Resolv: resolv})
	for _, prefix := range []string{"10.7.0.", "fd07::", "fe80::"} {
		line := p.Await(t, "an address that begins with "+prefix, func(line string) bool { return strings.Contains(line, `"`+prefix) })
		text, _, _ := strings.Cut(line[strings.Index(line, `"`+prefix)+1:], "/")
		node.has = append(node.has, netip.MustParseAddr(text))
	}
	node.off = func() {
		p.Kill()
		port.Cut()
	}
	return node
}

// beyond lists what the node sent to addresses that are not on the segment.
func beyond(capture *netlab.Capture) (list []string) {
	for _, f := range capture.Frames() {
		p := f.Packet()
		if f.Machine == "node" && p.Target.IsValid() && !slices.ContainsFunc(onLink, func(l netip.Prefix) bool { return l.Contains(p.Target) }) {
			list = append(list, f.String())
		}
	}
	return list
}

// TestLocalStaysOnLink: what programs in local mode send to addresses beyond
// the segment never leaves the machine, by whatever way the network offers; and
// the same test sees it leave in the other mode.
func TestLocalStaysOnLink(t *testing.T) {
	t.Parallel()
	for _, mode := range []settings.Mode{settings.Local, settings.Internet} {
		t.Run(string(mode), func(t *testing.T) {
			lan, _ := newSegment(t)
			capture := lan.Capture()
			node := boot(t, lan, mode)
			servers := []string{"10.7.0.1", "fd07::1"}
			if mode == settings.Internet {
				servers = []string{"9.9.9.9", "10.7.0.1", "2620:fe::9"}
			}
			awaitNameservers(t, node.resolv, servers)
			var left []string
			for _, target := range []string{"9.9.9.9:53", "45.45.45.123:123", "1.1.1.1:7420", "[2620:fe::9]:53", "[2001:db8::1]:7420"} {
				// The kernel may know of the router a moment after the name servers.
				if err := node.Try(func() error { return send(target) }); err == nil {
					left = append(left, target)
				} else if !errors.Is(err, unix.ENETUNREACH) {
					t.Errorf("%s: %v", target, err)
				}
			}
			// The router hears what is for it after all that was sent before.
			node.Do(t, func() error { return askDNS("10.7.0.1:53") })
			sent := beyond(capture)
			if local := mode == settings.Local; local && len(left)+len(sent) > 0 || !local && len(sent) < 3 {
				t.Errorf("the kernel had ways to %v; crossed the wire:\n%s", left, strings.Join(sent, "\n"))
			}
		})
	}
}

func send(target string) error {
	conn, err := net.Dial("udp", target)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("beyond"))
	return err
}

// askDNS waits for any answer of a name server.
func askDNS(server string) error {
	conn, err := net.Dial("tcp", server)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	// A question for the root's name servers, RFC 1035 §4.1, and its length.
	if _, err := conn.Write([]byte("\x00\x11\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 512))
	return err
}

// TestPrivateBoots: two boots of one machine in private mode have no identifier
// in common, nor one of the machine's own; in the other mode they have.
func TestPrivateBoots(t *testing.T) {
	t.Parallel()
	for _, mode := range []settings.Mode{settings.Private, settings.Internet} {
		t.Run(string(mode), func(t *testing.T) {
			lan, leases := newSegment(t)
			var seen [2]map[string]bool
			for i := range seen {
				capture := lan.Capture()
				node := boot(t, lan, mode)
				node.off()
				capture.Stop()
				seen[i] = identifiers(t, capture)
				for _, a := range node.has {
					seen[i][a.String()] = true
				}
			}
			var shared []string
			for id := range seen[0] {
				if seen[1][id] {
					shared = append(shared, id)
				}
			}
			makers, _ := net.ParseMAC(makersMAC)
			own := slices.DeleteFunc([]string{"MAC " + makers.String(), "name " + nodeName, "text " + nodeName}, func(id string) bool { return !seen[0][id] && !seen[1][id] })
			data, err := os.ReadFile(filepath.Clean(leases))
			if err != nil {
				t.Fatal(err)
			}
			private := mode == settings.Private
			if told := bytes.Contains(data, []byte(nodeName)) || bytes.Contains(data, []byte(makersMAC)); private == (len(shared)+len(own) > 0) || private == told {
				t.Errorf("shared %q, the machine's own %q, the server remembers:\n%s", shared, own, data)
			}
		})
	}
}

// identifiers are what the frames of the node tell of it.
func identifiers(t *testing.T, capture *netlab.Capture) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, f := range capture.Frames() {
		if f.Machine != "node" {
			continue
		}
		ids["MAC "+net.HardwareAddr(f.Data[6:12]).String()] = true
		p := f.Packet()
		if p.Source.IsValid() && !p.Source.IsUnspecified() {
			ids[p.Source.String()] = true
		}
		if p.EtherType == unix.ETH_P_ARP && len(p.Payload) >= 28 {
			ids["MAC "+net.HardwareAddr(p.Payload[8:14]).String()] = true
		}
		if bytes.Contains(f.Data, []byte(nodeName)) {
			ids["text "+nodeName] = true
		}
		if p.Protocol != 17 || p.TargetPort != dhcpv4.ServerPort || len(p.Payload) < 8 {
			continue
		}
		m, err := dhcpv4.FromBytes(p.Payload[8:])
		if err != nil {
			t.Fatal(err)
		}
		ids["MAC "+m.ClientHWAddr.String()] = true
		ids["transaction "+m.TransactionID.String()] = true
		if m.HostName() != "" {
			ids["name "+m.HostName()] = true
		}
		// Whatever else may tell one machine from another.
		for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionClassIdentifier, dhcpv4.OptionClientMachineIdentifier, dhcpv4.OptionFQDN, dhcpv4.OptionRequestedIPAddress} {
			if v := m.Options.Get(code); v != nil {
				ids[fmt.Sprintf("option %d %x", code.Code(), v)] = true
			}
		}
	}
	return ids
}
