package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// NAT is what a router does to what crosses it.
type NAT string

// The kinds of router. The mappings are those of RFC 4787 §4.1; all but Open
// let in from outside only what answers something (address and port dependent
// filtering).
const (
	// Open passes everything on unchanged.
	Open NAT = "open"
	// Mapped is EndpointIndependent that opens ports when asked by UPnP.
	Mapped NAT = "upnp"
	// EndpointIndependent gives a socket behind it one address and port
	// outside, whomever it talks to: holes can be punched.
	EndpointIndependent NAT = "eim"
	// EndpointDependent gives it another port for every peer, at random
	// ("symmetric"): what one peer sees is of no use to another.
	EndpointDependent NAT = "edm"
	// Firewall changes no address.
	Firewall NAT = "firewall"
)

// Kinds lists all kinds of router.
var Kinds = []NAT{Open, Mapped, EndpointIndependent, EndpointDependent, Firewall}

// NAT makes the machine a router of the kind given between its interfaces
// inside and outside, for IPv4. IPv6 is forwarded by none of them.
func (m *Machine) NAT(t testing.TB, kind NAT, inside, outside string) {
	t.Helper()
	m.Sysctl(t, "net/ipv4/ip_forward", "1")
	if kind == Open {
		return
	}
	rules := firewallRules(outside, kind == Mapped)
	switch kind {
	case Mapped:
		rules += natRules(outside, "masquerade", true)
	case EndpointIndependent:
		rules += natRules(outside, "masquerade", false)
	case EndpointDependent:
		rules += natRules(outside, "masquerade fully-random", false)
	}
	m.nft(t, rules)
	if kind == Mapped {
		m.startUPnP(t, inside, outside)
	}
}

// firewallRules drop what comes from outside and answers nothing. That holds
// for the router itself too: a stray packet to it would otherwise be tracked,
// and take the port that a mapping is about to need.
func firewallRules(outside string, upnp bool) string {
	jump := ""
	if upnp {
		jump = "  jump miniupnpd\n"
	}
	rules := "table inet filter {\n"
	if upnp {
		rules += " chain miniupnpd {\n }\n"
	}
	return rules + fmt.Sprintf(` chain incoming {
  type filter hook input priority 0;
  iifname %[1]q ct state established,related accept
  iifname %[1]q meta l4proto icmp accept
  iifname %[1]q drop
 }
 chain passing {
  type filter hook forward priority 0;
  ct state established,related accept
%[2]s  iifname %[1]q drop
 }
}
`, outside, jump)
}

// natRules translate what goes outside.
func natRules(outside, how string, upnp bool) string {
	rules := "table inet nat {\n"
	if upnp {
		rules += fmt.Sprintf(` chain miniupnpd {
 }
 chain miniupnpd_back {
 }
 chain before {
  type nat hook prerouting priority -100;
  iifname %q jump miniupnpd
 }
`, outside)
	}
	return rules + fmt.Sprintf(` chain after {
  type nat hook postrouting priority 100;
  meta nfproto ipv4 oifname %q %s
 }
}
`, outside, how)
}

// nft loads a ruleset. A table needs its lines: in one line it is refused.
func (m *Machine) nft(t testing.TB, rules string) {
	t.Helper()
	m.need(t, "nft", "nftables")
	if _, stderr, err := m.Run(Program{Path: "nft", Args: []string{"-f", "-"}, Input: rules}); err != nil {
		t.Fatalf("%s: nft: %v: %s\n%s", m.Name, err, stderr, rules)
	}
}

// need skips the test, or fails it under make, when a program is missing.
func (m *Machine) need(t testing.TB, program, debian string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("PHASE_REQUIRE") != "" {
		t.Fatalf("%s is not installed (Debian: %s)", program, debian)
	}
	t.Skipf("%s is not installed (Debian: %s)", program, debian)
}

// startUPnP starts a UPnP and NAT-PMP service as routers at home run it.
func (m *Machine) startUPnP(t testing.TB, inside, outside string) {
	t.Helper()
	m.need(t, "miniupnpd", "miniupnpd-nftables")
	dir := t.TempDir()
	config := filepath.Join(dir, "miniupnpd.conf")
	text := strings.Join([]string{
		"ext_ifname=" + outside,
		"listening_ip=" + inside,
		"enable_upnp=yes",
		"enable_natpmp=yes",
		"ipv6_disable=yes",
		"http_port=5000",
		"uuid=6f6c9f0e-3c5a-4b5e-9c7e-0d6d8f5c0001",
		"serial=1",
		"model_number=1",
		"secure_mode=yes",
		"upnp_table_name=filter",
		"upnp_nat_table_name=nat",
		"upnp_forward_chain=miniupnpd",
		"upnp_nat_chain=miniupnpd",
		"upnp_nat_postrouting_chain=miniupnpd_back",
		"allow 1024-65535 0.0.0.0/0 1024-65535",
		"deny 0-65535 0.0.0.0/0 0-65535",
		"",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p := m.Start(t, Program{Path: "miniupnpd", Args: []string{"-d", "-f", config, "-P", filepath.Join(dir, "pid")}})
	p.AwaitText(t, "HTTP listening on port")
}
