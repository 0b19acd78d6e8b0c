package netlab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"phase/tests/await"
)

// pair is two machines on one switch, with a socket each.
func pair(t *testing.T, wire Wire) (s *Switch, a, b *socket, port *Port) {
	s = NewSwitch(t, "lan", wire)
	left, right := NewMachine(t, "left"), NewMachine(t, "right")
	port = s.Join(t, left, "eth0", "192.168.7.1/24", "fd00:7::1/64")
	s.Join(t, right, "eth0", "192.168.7.2/24", "fd00:7::2/64")
	return s, left.udp(t, "192.168.7.1:7000"), right.udp(t, "192.168.7.2:7000"), port
}

var right7000 = addrPort("192.168.7.2:7000")

func TestSwitch(t *testing.T) {
	s, a, b, _ := pair(t, Wire{})
	capture := s.Capture()
	a.send("hello", right7000)
	if from := b.receive("hello"); from != addrPort("192.168.7.1:7000") {
		t.Errorf("from %v", from)
	}
	capture.Stop()
	a.send("later", right7000)
	b.receive("later")
	found, ok := capture.Contains([]byte("hello"))
	if p := found.Packet(); !ok || found.Machine != "left" || netip.AddrPortFrom(p.Target, p.TargetPort) != right7000 || p.SourcePort != 7000 || p.Protocol != 17 {
		t.Errorf("captured %v, %v", found, ok)
	}
	if _, ok := capture.Contains([]byte("later")); ok {
		t.Error("what came after its end is captured")
	}
	var pcap bytes.Buffer
	if err := capture.WritePcap(&pcap); err != nil || !bytes.Contains(pcap.Bytes(), found.Data) || binary.LittleEndian.Uint32(pcap.Bytes()) != 0xa1b2c3d4 {
		t.Errorf("the pcap file: %x, %v", pcap.Bytes(), err)
	}
	if c := s.Counts(); c.Received < 2 || c.Delivered < 2 || c.Lost+c.Cut+c.Overflown > 0 {
		t.Errorf("counted %+v", c)
	}
}

// TestMulticast: both families reach a group, which discovery needs.
func TestMulticast(t *testing.T) {
	for _, c := range []struct{ group, network string }{{"224.0.0.251:5353", "udp4"}, {"[ff02::fb]:5353", "udp6"}} {
		s := NewSwitch(t, "lan", Wire{})
		left, right := NewMachine(t, "left"), NewMachine(t, "right")
		s.Join(t, left, "eth0", "192.168.7.1/24")
		s.Join(t, right, "eth0", "192.168.7.2/24")
		left.Route(t, "224.0.0.0/4", "192.168.7.2") // which interface a group is sent from
		group := net.UDPAddrFromAddrPort(addrPort(c.group))
		listener := &socket{t: t}
		right.Do(t, func() (err error) {
			eth0, err := net.InterfaceByName("eth0")
			if err == nil {
				listener.conn, err = net.ListenMulticastUDP(c.network, eth0, group)
			}
			return err
		})
		t.Cleanup(func() { listener.conn.Close() })
		left.Do(t, func() error {
			if c.network == "udp6" {
				group.Zone = "eth0"
			}
			var conn *net.UDPConn
			// The kernel gives an interface its link-local address some time after a cable.
			var err error
			if late := await.Until(t.Context(), func() bool {
				conn, err = net.DialUDP(c.network, nil, group)
				return !errors.Is(err, unix.EADDRNOTAVAIL)
			}); late != nil || err != nil {
				return errors.Join(late, err)
			}
			defer conn.Close()
			_, err = conn.Write([]byte(c.network))
			return err
		})
		listener.receive(c.network)
	}
}

func TestDelay(t *testing.T) {
	const delay = 50 * time.Millisecond
	s, a, b, _ := pair(t, Wire{})
	a.send("neighbours know each other now", right7000)
	b.receive("neighbours know each other now")
	s.SetWire(Wire{Delay: delay})
	begun := time.Now()
	a.send("ping", right7000)
	b.send("pong", b.receive("ping"))
	a.receive("pong")
	if took := time.Since(begun); took < 2*delay {
		t.Errorf("there and back in %v, with a delay of %v each way", took, delay)
	}
}

func TestLoss(t *testing.T) {
	s, a, b, _ := pair(t, Wire{})
	a.send("neighbours know each other now", right7000)
	b.receive("neighbours know each other now")
	before := s.Counts()
	s.SetWire(Wire{Loss: 0.3})
	const sent = 1000
	for i := range sent {
		a.send(fmt.Sprint(i), right7000)
	}
	if err := await.Until(t.Context(), func() bool { return s.Counts().Received >= before.Received+sent }); err != nil {
		t.Fatal(err)
	}
	if lost := s.Counts().Lost; lost < sent/5 || lost > sent*2/5 {
		t.Errorf("%d of %d are lost, of which 30 %% should be", lost, sent)
	}
}

func TestCut(t *testing.T) {
	s, a, b, port := pair(t, Wire{})
	a.send("before", right7000)
	b.receive("before")
	port.Cut()
	a.send("cut", right7000)
	if err := await.Until(t.Context(), func() bool { return s.Counts().Cut > 0 }); err != nil {
		t.Fatal(err)
	}
	port.Restore()
	a.send("after", right7000)
	if text, _ := b.next(patience); text != "after" {
		t.Errorf("%q crossed a cut cable", text)
	}
}

// TestPull: the machine sees its carrier go and come.
func TestPull(t *testing.T) {
	_, a, b, port := pair(t, Wire{})
	carrier := func(want bool) {
		t.Helper()
		if err := await.Until(t.Context(), func() (running bool) {
			port.Machine.Do(t, func() error {
				eth0, err := net.InterfaceByName("eth0")
				running = err == nil && eth0.Flags&net.FlagRunning != 0
				return err
			})
			return running == want
		}); err != nil {
			t.Fatalf("the carrier is never %v", want)
		}
	}
	carrier(true)
	port.Pull(t)
	carrier(false)
	port.PlugIn(t)
	carrier(true)
	a.send("after", right7000)
	b.receive("after")
}
