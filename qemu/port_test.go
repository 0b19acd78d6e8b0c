package qemu

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
)

// Law: what QEMU's stream protocol carries is what the switch reads back, and no length makes it take more than a frame.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02hi\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		var again []byte
		for {
			frame, err := readFrame(r)
			if err != nil {
				break
			}
			if len(frame) > maxFrame {
				t.Fatalf("a frame of %d bytes", len(frame))
			}
			again = append(binary.BigEndian.AppendUint32(again, uint32(len(frame))), frame...)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("%x was read as %x", b, again)
		}
	})
}

// Law: no frame a machine can send stops the switch or teaches it an address that is not link-local.
func FuzzForward(f *testing.F) {
	six := append([]byte{0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd}, make([]byte, 40)...)
	copy(six[22:], netip.MustParseAddr("fe80::1").AsSlice())
	f.Add(six)
	f.Add([]byte{1, 2, 3})
	s := segment(f)
	p, err := s.Tap("fuzz", func([]byte) {})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p.Send(frame)
		for _, a := range p.Addrs() {
			if !a.IsLinkLocalUnicast() {
				t.Errorf("learned %v", a)
			}
		}
	})
}

func TestEUI64(t *testing.T) {
	if got := EUI64(net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}); got != netip.MustParseAddr("fe80::5054:ff:fe12:3456") {
		t.Errorf("EUI64 is %v", got)
	}
}

// BenchmarkSegment is the switch and two network stacks in this process, as an upper bound for what machines reach.
func BenchmarkSegment(b *testing.B) {
	s := segment(b)
	l, err := s.observer.Listen("[::]:80")
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go io.Copy(io.Discard, c)
		}
	}()
	c, err := host(b, s, "client").Dial(b.Context(), "tcp", "["+s.observer.Addr6().String()+"]:80")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}
