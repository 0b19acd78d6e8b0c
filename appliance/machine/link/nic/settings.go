// Package nic writes the kernel settings of a wired network interface and raises
// it. It is all that a boot needs to let IPv6 find its link-local address while
// the programs start; addresses, leases and changes are for package link.
package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"phase/appliance/machine/settings"
)

// sysRoot is where the kernel keeps the settings of this network namespace;
// see Documentation/networking/ip-sysctl.rst.
const sysRoot = "/proc/sys/net"

// setting is one kernel setting of an interface. The value is written before
// the interface is raised, when it still decides how that goes.
type setting struct {
	path   string // under sysRoot, with %s for the interface, if it is of one
	value  string
	needed bool // without it the interface must stay down
	report bool // a kernel without IPv6 is a problem to report
}

// table is the kernel's part in what the owner of the node asked for.
func table(o settings.Options) []setting {
	onLink := o.Mode == settings.Local
	list := []setting{
		// One machine may have several interfaces on one segment: each answers
		// for its own addresses only, or a conflict check finds the neighbour
		// in the same box.
		{path: "ipv4/conf/%s/arp_ignore", value: "1"},
		{path: "ipv4/conf/%s/arp_announce", value: "2"},
		{path: "ipv4/conf/%s/rp_filter", value: "0"},
		{path: "ipv4/conf/%s/accept_redirects", value: "0", needed: onLink},
		{path: "ipv6/conf/%s/disable_ipv6", value: "0", report: true},
		{path: "ipv6/conf/%s/accept_redirects", value: "0"},
		// The link-local address follows from the hardware address (EUI-64), so
		// that a machine can be found by its hardware address alone.
		{path: "ipv6/conf/%s/addr_gen_mode", value: "0"},
		{path: "ipv6/conf/%s/use_tempaddr", value: "0"},
		{path: "ipv6/conf/%s/autoconf", value: "1"},
		// Duplicate address detection stays, but the link-local address is
		// what a serverless segment lives on: no random wait, and a quarter of
		// the usual second for an answer, which any wire gives in a millisecond.
		{path: "ipv6/conf/%s/router_solicitation_delay", value: "0"},
		// A router that comes late is asked for at least once a minute, not once
		// an hour (RFC 7559).
		{path: "ipv6/conf/%s/router_solicitation_max_interval", value: "60"},
		{path: "ipv6/neigh/%s/retrans_time_ms", value: "250"},
	}
	acceptRA := "1"
	if !o.IP.DHCP() && o.IP.Address.Addr().Is6() {
		acceptRA = "0" // the owner said which address and which gateway
	}
	list = append(list, setting{path: "ipv6/conf/%s/accept_ra", value: acceptRA})
	if onLink {
		list = append(list,
			setting{path: "ipv6/conf/%s/accept_ra_defrtr", value: "0", needed: true},
			setting{path: "ipv6/conf/%s/accept_ra_rt_info_max_plen", value: "0"},
			setting{path: "ipv6/conf/%s/accept_ra_rt_info_min_plen", value: "129"})
	}
	return list
}

// shared are the settings of all interfaces together.
var shared = []setting{
	// Somewhere on the way may be a link that carries less than this one, and a
	// router there that drops the ICMP which says so: TCP then finds out by itself
	// what gets through (RFC 4821), once a connection stands still.
	{path: "ipv4/tcp_mtu_probing", value: "1"},
}

// PrepareAll writes what is not of one interface: the settings of all, and those
// that the kernel gives to an interface whose IPv6 it begins anew, as it does
// when the MTU has been too small for it. The problems are sentences for people.
func PrepareAll(o settings.Options) (problems []string) {
	problems, _ = apply(sysRoot, "all", shared) // none of them is needed
	// What else this kernel lacks is said of each interface.
	if _, err := apply(sysRoot, "default", table(o)); err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

// MTU6 is what IPv6 sends at most on an interface in one packet: a router may
// have said less than the interface can (RFC 4861 §4.6.4). It is 0 where there
// is no IPv6.
func MTU6(iface string) int {
	text, err := os.ReadFile(filepath.Join(sysRoot, "ipv6/conf", iface, "mtu"))
	if err != nil {
		return 0
	}
	mtu, _ := strconv.Atoi(strings.TrimSpace(string(text))) // 0 for what is no number
	return mtu
}

// Prepare writes the settings of an interface. A setting this kernel does not
// have is passed over unless the mode cannot do without it: then there is an
// error, and the interface must stay down. The problems are sentences for people.
func Prepare(iface string, o settings.Options) (problems []string, err error) {
	return apply(sysRoot, iface, table(o))
}

func apply(root, iface string, list []setting) (problems []string, err error) {
	for _, s := range list {
		path := filepath.Join(root, strings.Replace(s.path, "%s", iface, 1))
		_, family := os.Stat(filepath.Dir(path))
		err := os.WriteFile(path, []byte(s.value), 0o644)
		switch missing := errors.Is(err, os.ErrNotExist); {
		case err == nil:
		case missing && family != nil:
			if s.report {
				problems = append(problems, fmt.Sprintf("%s: this kernel has no IPv6", iface))
			}
		case s.needed:
			return problems, fmt.Errorf("%s stays down: the mode wants %s to be %s: %w", iface, path, s.value, err)
		case !missing:
			problems = append(problems, fmt.Sprintf("%s: setting %s to %s: %v", iface, path, s.value, err))
		}
	}
	return problems, nil
}
