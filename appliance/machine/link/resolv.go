package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxNameservers is MAXNS of resolv.conf(5).
const maxNameservers = 3

// resolvConf is the file's text; no server at all is a file that says so.
func resolvConf(servers []netip.Addr) string {
	var b strings.Builder
	b.WriteString("# Written by net from what the network said; changes are lost.\n")
	for _, s := range servers[:min(len(servers), maxNameservers)] {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return b.String()
}

// announcedServers are name servers from a router's announcement.
type announcedServers struct {
	index   int
	servers []netip.Addr
	life    time.Duration // 0 takes them back
}

// parseUserOption reads a netlink message RTM_NEWNDUSEROPT, with which the
// kernel hands on the options of router announcements it has no use for
// itself. Only RDNSS (RFC 8106 §5.1) is read.
func parseUserOption(b []byte) (announcedServers, bool) {
	// struct nduseroptmsg: family, pad, options' length, ifindex, ICMP type
	// and code, padding to 16 bytes.
	const header = 16
	if len(b) < header || len(b) > 64<<10 || b[0] != unix.AF_INET6 || b[8] != 134 {
		return announcedServers{}, false
	}
	a := announcedServers{index: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	length := int(binary.NativeEndian.Uint16(b[2:]))
	options := b[header:]
	if length > len(options) {
		return announcedServers{}, false
	}
	options = options[:length]
	seen := false
	for len(options) >= 8 {
		size := int(options[1]) * 8
		if size == 0 || size > len(options) {
			return announcedServers{}, false
		}
		if options[0] == 25 && size >= 24 {
			seen = true
			a.life = time.Duration(binary.BigEndian.Uint32(options[4:])) * time.Second
			for at := 8; at+16 <= size && len(a.servers) < maxNameservers; at += 16 {
				server := netip.AddrFrom16([16]byte(options[at : at+16]))
				if usable(server) && !server.Is4In6() {
					a.servers = append(a.servers, server)
				}
			}
		}
		options = options[size:]
	}
	return a, seen
}
