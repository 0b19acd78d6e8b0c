package lan

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"phase/appliance/machine/link"
	"phase/tests/netlab"
)

// TestOneShotResolver asks as dig does: by multicast, from a port of its own.
func TestOneShotResolver(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	s := netlab.NewSegment(t, "sw")
	a := netlab.Start(t, "a", "announce", announceArgs{Config: someConfig("d")})
	s.Plug(t, a, "eth0")
	a.AddAddress(t, "eth0", "192.0.2.1/24")
	bridge, err := netlink.LinkByName("sw")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 2), Mask: net.CIDRMask(24, 32)}}); err != nil {
		t.Fatal(err)
	}
	// Its announcements say when it is ready to be asked: they are listened for
	// before there are any.
	st, err := openStation(link.Interface{Name: "sw", Index: bridge.Attrs().Index}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer st.conn.Close()
	a.Raise(t, "eth0")
	if err := st.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.conn.ReadFrom(make([]byte, maxPacket)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query := new(dns.Msg)
	query.SetQuestion(Service, dns.TypePTR)
	data, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	// As dig, it asks again when nobody answers: a packet may come while the
	// node opens its sockets anew, since its interface has one more address.
	buf, n := make([]byte, maxPacket), 0
	for tries := 0; n == 0; tries++ {
		if _, err := conn.WriteToUDPAddrPort(data, st.group()); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, _, err = conn.ReadFrom(buf); err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || tries == 5) {
			t.Fatal(err)
		}
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	if answer.Id != query.Id || len(answer.Question) != 1 || len(answer.Answer) != 1 || len(answer.Extra) < 3 {
		t.Errorf("answer %v", answer)
	}
	for _, rr := range slices.Concat(answer.Answer, answer.Extra) {
		if rr.Header().Ttl > 10 || rr.Header().Class&cacheFlush != 0 {
			t.Errorf("record %v is no one-shot answer's", rr)
		}
	}
}
