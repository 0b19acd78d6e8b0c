package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func host(t testing.TB, s *Segment, name string) *Host {
	t.Helper()
	h, err := s.NewHost(name)
	check(t, err)
	return h
}

// serve answers each HTTP request on the host with text.
func serve(t testing.TB, h *Host, addr, text string) {
	t.Helper()
	l, err := h.Listen(addr)
	check(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
}

// four is the IPv4 address of the first host after the observer.
var four = netip.MustParseAddr("169.254.0.2")

func TestHostsTalk(t *testing.T) {
	s := segment(t)
	a := host(t, s, "a")
	serve(t, a, "["+a.Addr6().String()+"]:8080", "six")
	serve(t, a, "0.0.0.0:8080", "four")
	check(t, a.AddAddress(netip.MustParsePrefix("10.0.0.1/24")))
	for addr, want := range map[string]string{
		"[" + a.Addr6().String() + "%25eth0]": "six", four.String(): "four", "10.0.0.1": "four",
	} {
		if got := get(t, s.HTTPClient(), "http://"+addr+":8080/"); got != want {
			t.Errorf("%s answers %q, want %q", addr, got, want)
		}
	}
}

func TestMulticastReachesAllButTheSender(t *testing.T) {
	for _, group := range []string{"224.0.0.251:5353", "[ff02::fb]:5353"} {
		s := segment(t)
		a, b := host(t, s, "a"), host(t, s, "b")
		var conns []net.PacketConn
		for _, h := range []*Host{a, b, b} { // two sockets on b share the port
			c, err := h.ListenPacket(group)
			check(t, err)
			defer c.Close()
			conns = append(conns, c)
		}
		_, err := conns[0].WriteTo([]byte("who is there"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(group)))
		check(t, err)
		for _, c := range conns[1:] {
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 100)
			n, from, err := c.ReadFrom(buf)
			check(t, err)
			if ip := from.(*net.UDPAddr).AddrPort().Addr(); string(buf[:n]) != "who is there" || (ip != four && ip != a.Addr6()) {
				t.Errorf("%s: got %q from %v", group, buf[:n], from)
			}
		}
	}
}

func TestNoEchoAndLearning(t *testing.T) {
	s := segment(t)
	type got struct {
		port  string
		frame []byte
	}
	all := make(chan got, 100)
	var ports []*Port
	for _, name := range []string{"a", "b", "c"} {
		p, err := s.Tap(name, func(f []byte) { all <- got{name, f} })
		check(t, err)
		ports = append(ports, p)
	}
	frame := func(dst, src byte) []byte {
		return append([]byte{2, 1, 1, 1, 1, dst, 2, 1, 1, 1, 1, src, 0x88, 0xb5}, "text"...)
	}
	expect := func(f []byte, names string) {
		t.Helper()
		seen := ""
		for range len(names) {
			select {
			case g := <-all:
				if bytes.Equal(g.frame, f) {
					seen += g.port
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("only %q got the frame, want %q", seen, names)
			}
		}
		for _, n := range names {
			if !strings.ContainsRune(seen, n) {
				t.Errorf("%q got the frame, want %q", seen, names)
			}
		}
	}
	ports[0].Send(frame(9, 1)) // to nobody known: all but the sender
	expect(frame(9, 1), "bc")
	ports[1].Send(frame(1, 2)) // to a, and to a only
	expect(frame(1, 2), "a")
	ports[2].Send(frame(2, 3))
	expect(frame(2, 3), "b") // had c's or b's earlier frame gone further, it would come first here
}

func TestDropAndCapture(t *testing.T) {
	s := segment(t)
	a, b := host(t, s, "a"), host(t, s, "b")
	serve(t, a, "[::]:80", "hello")
	url := "http://[" + a.Addr6().String() + "]/"
	try := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
		r, err := b.HTTPClient().Do(req)
		if err == nil {
			r.Body.Close()
		}
		return err
	}
	var pcap bytes.Buffer
	stop, err := s.Capture(&pcap)
	check(t, err)
	check(t, try(10*time.Second))
	check(t, stop())
	n, size := frames(t, pcap.Bytes()), pcap.Len()
	if n < 5 { // two to connect, one to have connected, a question and its answer
		t.Errorf("%d frames captured for one HTTP request", n)
	}

	s.SetFilter(func(from, to *Port, _ []byte) bool { return from == a.Port() && to == b.Port() })
	if try(100*time.Millisecond) == nil {
		t.Error("reached although one way is cut")
	}
	s.SetFilter(nil)
	check(t, try(10*time.Second))

	s.SetFilter(func(_, to *Port, _ []byte) bool { return to == a.Port() })
	if try(100*time.Millisecond) == nil {
		t.Error("reached although every frame is dropped")
	}
	s.SetFilter(nil)
	check(t, try(10*time.Second))
	if pcap.Len() != size {
		t.Error("the capture went on after it was stopped")
	}
}

// frames counts the frames of a capture and checks its form.
func frames(t testing.TB, b []byte) int {
	t.Helper()
	if len(b) < 24 || binary.LittleEndian.Uint32(b) != 0xa1b23c4d || binary.LittleEndian.Uint32(b[20:]) != 1 {
		t.Fatalf("not a capture: %x", b[:min(24, len(b))])
	}
	n := 0
	for b = b[24:]; len(b) > 0; n++ {
		size := int(binary.LittleEndian.Uint32(b[8:]))
		if size < 14 || 16+size > len(b) {
			t.Fatalf("frame %d has %d bytes, %d are left", n, size, len(b))
		}
		b = b[16+size:]
	}
	return n
}

func TestMachinesTalkAndLoseCarrier(t *testing.T) {
	s := segment(t)
	a := boot(t, Config{Name: "a", Arch: ARM64, MemoryMB: 256, NICs: []NIC{{Segment: s}}})
	b := boot(t, Config{Name: "b", Arch: X86_64, MemoryMB: 256, NICs: []NIC{{Segment: s}, {Segment: segment(t)}}})
	if got := do(t, b, "get http://["+a.Addr().String()+"%25eth0]:8080/blob?mb=32"); !strings.HasPrefix(got, "33554432 bytes") {
		t.Errorf("b gets from a: %s", got)
	} else {
		t.Log("b gets from a:", got)
	}
	// A machine reaches a server in this process.
	serve(t, s.observer, "[::]:8080", "from the test")
	if got := do(t, a, "get http://["+s.observer.Addr6().String()+"%25eth0]:8080/"); !strings.HasPrefix(got, "13 bytes") {
		t.Errorf("a gets from the observer: %s", got)
	}
	check(t, b.SetCarrier(t.Context(), 0, false))
	// The machine is told at once; when its kernel acts on that is its own affair.
	for end := time.Now().Add(time.Minute); do(t, b, "carrier") != "0"; {
		if time.Now().After(end) {
			t.Fatal("there is a carrier with the cable pulled")
		}
	}
	check(t, b.SetCarrier(t.Context(), 0, true))
	if got := get(t, s.HTTPClient(), "http://["+b.Addr().String()+"]:8080"); !strings.HasPrefix(got, "hello") {
		t.Errorf("b answers %q", got)
	}
	if a.Port(1) != nil || b.Port(1) == nil {
		t.Error("a has one NIC and b two")
	}
}
