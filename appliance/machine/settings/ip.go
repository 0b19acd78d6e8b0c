package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// IP is the value of phase.ip. The zero value means DHCP, with IPv6
// autoconfiguration and link-local addresses beside it.
type IP struct {
	Address netip.Prefix // valid only when static
	Gateway netip.Addr   // of Address's family; may be missing on an isolated segment
	DNS     []netip.Addr // at most 3, as many as a resolv.conf may hold
}

// DHCP says whether addresses are asked for rather than given.
func (ip IP) DHCP() bool { return !ip.Address.IsValid() }

// ParseIP reads "dhcp" or "ADDR/LEN,GW[,DNS[,DNS]]". GW may be left out where
// there is none.
func ParseIP(v string) (IP, error) {
	if v == "dhcp" {
		return IP{}, nil
	}
	const form = "want dhcp or ADDR/LEN,GW[,DNS]"
	parts := strings.Split(v, ",")
	if len(parts) > 5 {
		return IP{}, errors.New(form)
	}
	prefix, err := netip.ParsePrefix(parts[0])
	if err != nil {
		return IP{}, fmt.Errorf("%s: %q is no address with a prefix length", form, clean(parts[0]))
	}
	ip := IP{Address: prefix}
	if a := prefix.Addr(); !usableAddr(a) || a.Is4In6() || prefix.Bits() == 0 {
		return IP{}, fmt.Errorf("%s: a machine cannot have the address %s", form, prefix)
	}
	if len(parts) > 1 {
		gateway, err := netip.ParseAddr(parts[1])
		if err != nil || !usableAddr(gateway) || gateway.Is4() != prefix.Addr().Is4() || gateway == prefix.Addr() || gateway.Zone() != "" {
			return IP{}, fmt.Errorf("%s: %q is no gateway for %s", form, clean(parts[1]), prefix)
		}
		ip.Gateway = gateway
	}
	for _, part := range parts[min(2, len(parts)):] {
		dns, err := netip.ParseAddr(part)
		if err != nil || dns.IsUnspecified() || dns.IsMulticast() || dns.Zone() != "" {
			return IP{}, fmt.Errorf("%s: %q is no name server's address", form, clean(part))
		}
		ip.DNS = append(ip.DNS, dns)
	}
	return ip, nil
}

func usableAddr(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// String writes ip as phase.ip takes it.
func (ip IP) String() string {
	if ip.DHCP() {
		return "dhcp"
	}
	parts := []string{ip.Address.String()}
	if ip.Gateway.IsValid() {
		parts = append(parts, ip.Gateway.String())
	}
	for _, d := range ip.DNS {
		parts = append(parts, d.String())
	}
	return strings.Join(parts, ",")
}

// MarshalText writes ip as phase.ip takes it.
func (ip IP) MarshalText() ([]byte, error) { return []byte(ip.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (ip *IP) UnmarshalText(text []byte) (err error) {
	*ip, err = ParseIP(string(text))
	return err
}
