package lab

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"phase/appliance/network/lan"
	"phase/qemu"
)

// Announcement is what a host on the segment announces by DNS-SD, true or not.
type Announcement struct {
	Name          string // of the instance and of the host; control characters are sent as they are
	Channel, Arch string
	Version       uint64
	Port          uint16
	Text          []string // further strings of the TXT record
	Addresses     []netip.Addr
}

// groups are where multicast DNS is spoken, RFC 6762 §3.
var groups = []string{"[ff02::fb]:5353", "224.0.0.251:5353"}

// Packet is the announcement as one answer, as a node would give it; life is
// how many seconds it holds, 0 to take it back.
func (a Announcement) Packet(life uint32) ([]byte, error) {
	const flush = 1 << 15
	label := escape(a.Name)
	full, host := label+"."+lan.Service, label+".local."
	header := func(name string, kind, class uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: life}
	}
	text := []string{
		"channel=" + a.Channel, "arch=" + a.Arch, "version=" + strconv.FormatUint(a.Version, 10),
		"http_port=" + strconv.Itoa(int(a.Port)), "peer=12D3KooWnobody",
	}
	for _, t := range a.Text {
		text = append(text, escape(t))
	}
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
	m.Answer = []dns.RR{
		&dns.PTR{Hdr: header(lan.Service, dns.TypePTR, dns.ClassINET), Ptr: full},
		&dns.SRV{Hdr: header(full, dns.TypeSRV, dns.ClassINET|flush), Port: a.Port, Target: host},
		&dns.TXT{Hdr: header(full, dns.TypeTXT, dns.ClassINET|flush), Txt: text},
	}
	for _, addr := range a.Addresses {
		if addr.Is4() {
			m.Answer = append(m.Answer, &dns.A{Hdr: header(host, dns.TypeA, dns.ClassINET|flush), A: addr.AsSlice()})
		} else {
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(host, dns.TypeAAAA, dns.ClassINET|flush), AAAA: addr.AsSlice()})
		}
	}
	packet, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("writing the announcement of %q: %w", a.Name, err)
	}
	return packet, nil
}

// escape writes bytes so that they stand in a DNS name or text as they are.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '.' || c == '\\' || c == '"' {
			fmt.Fprintf(&b, "\\%03d", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// speaker sends the same packets whenever a node asks for providers.
type speaker struct {
	conns []net.PacketConn
	done  sync.WaitGroup
}

// speak has a host send packets, valid or not, to the multicast groups: now, and
// in answer to each question for providers.
func speak(h *qemu.Host, packets ...[]byte) (*speaker, error) {
	s := &speaker{}
	for _, group := range groups {
		conn, err := h.ListenPacket(group)
		if err != nil {
			s.close()
			return nil, err
		}
		s.conns = append(s.conns, conn)
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(group))
		say := func() {
			for _, p := range packets {
				// What is lost is sent again when a node asks.
				_, _ = conn.WriteTo(p, to)
			}
		}
		s.done.Go(func() {
			say()
			buf := make([]byte, 9000)
			for {
				n, _, err := conn.ReadFrom(buf)
				if err != nil {
					return
				}
				var m dns.Msg
				if m.Unpack(buf[:n]) == nil && !m.Response && asksForProviders(m) {
					say()
				}
			}
		})
	}
	return s, nil
}

func asksForProviders(m dns.Msg) bool {
	for _, q := range m.Question {
		if strings.HasSuffix(dns.CanonicalName(q.Name), lan.Service) {
			return true
		}
	}
	return false
}

func (s *speaker) close() {
	for _, c := range s.conns {
		c.Close()
	}
	s.done.Wait()
}

// Announce has a provider found by DNS-SD under a name, with one release. It
// returns what takes the announcer, not the provider, off the segment.
func (p *Provider) Announce(name string, r Release) (stop func(), err error) {
	m := r.Manifest
	packet, err := Announcement{Name: name, Channel: m.Channel, Arch: m.Arch, Version: m.Version, Port: ProviderPort,
		Addresses: []netip.Addr{p.host.Addr6()}}.Packet(120)
	if err != nil {
		return nil, err
	}
	s, err := speak(p.host, packet)
	if err != nil {
		return nil, err
	}
	return s.close, nil
}
