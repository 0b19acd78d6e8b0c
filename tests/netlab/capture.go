package netlab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// Capture holds the frames that crossed a switch, lost ones too, once each.
type Capture struct {
	s      *Switch
	mu     sync.Mutex
	frames []Frame
}

// Frame is one captured frame.
type Frame struct {
	At      time.Time
	Machine string // which sent it
	Data    []byte // from the Ethernet header on
}

// Packet is what a frame says of itself above Ethernet.
type Packet struct {
	Source, Target netip.Addr // zero when it is no IP packet
	Protocol       uint8      // of IP: 6 TCP, 17 UDP, 1 and 58 ICMP
	SourcePort     uint16     // of TCP and UDP
	TargetPort     uint16
	EtherType      uint16
	Payload        []byte // above IP, or above Ethernet when it is no IP packet
}

// Capture begins to keep all frames.
func (s *Switch) Capture() *Capture {
	c := &Capture{s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.captures = append(s.captures, c)
	return c
}

// Stop ends the capture; what was captured stays.
func (c *Capture) Stop() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.captures = slices.DeleteFunc(c.s.captures, func(other *Capture) bool { return other == c })
}

func (c *Capture) add(at time.Time, from *Port, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = append(c.frames, Frame{at, from.Machine.Name, frame})
}

// Frames returns what was captured so far, oldest first.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.frames)
}

// Contains returns the first frame that holds text anywhere.
func (c *Capture) Contains(text []byte) (Frame, bool) {
	for _, f := range c.Frames() {
		if bytes.Contains(f.Data, text) {
			return f, true
		}
	}
	return Frame{}, false
}

// Save writes the capture as a pcap file, for Wireshark and tcpdump.
func (c *Capture) Save(path string) error {
	var b bytes.Buffer
	if err := c.WritePcap(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// WritePcap writes the capture in the classic pcap format, link type Ethernet.
func (c *Capture) WritePcap(w io.Writer) error {
	order := binary.LittleEndian
	head := order.AppendUint32(nil, 0xa1b2c3d4)
	head = order.AppendUint16(head, 2)
	head = order.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...) // zone and accuracy
	head = order.AppendUint32(head, frameSize)
	head = order.AppendUint32(head, 1)
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, f := range c.Frames() {
		b := order.AppendUint32(nil, uint32(f.At.Unix()))
		b = order.AppendUint32(b, uint32(f.At.Nanosecond()/1000))
		b = order.AppendUint32(b, uint32(len(f.Data)))
		b = order.AppendUint32(b, uint32(len(f.Data)))
		if _, err := w.Write(append(b, f.Data...)); err != nil {
			return err
		}
	}
	return nil
}

// Packet reads the headers of the frame. What is cut short leaves zeros.
func (f Frame) Packet() Packet {
	var p Packet
	p.EtherType, p.Payload = etherType(f.Data)
	b := p.Payload
	switch {
	case p.EtherType == 0x0800 && len(b) >= 20:
		length := int(b[0]&15) * 4
		if length < 20 || len(b) < length {
			return p
		}
		p.Source, p.Target = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.Protocol, p.Payload = b[9], b[length:]
		if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return p // a later fragment: no ports in it
		}
	case p.EtherType == 0x86dd && len(b) >= 40:
		p.Source, p.Target = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		p.Protocol, p.Payload = b[6], b[40:]
		if p.Protocol == 0 && len(p.Payload) >= 8 { // hop by hop, which MLD has
			length := 8 + int(p.Payload[1])*8
			p.Protocol, p.Payload = p.Payload[0], p.Payload[min(length, len(p.Payload)):]
		}
	default:
		return p
	}
	if (p.Protocol == 6 || p.Protocol == 17) && len(p.Payload) >= 4 {
		p.SourcePort, p.TargetPort = binary.BigEndian.Uint16(p.Payload), binary.BigEndian.Uint16(p.Payload[2:])
	}
	return p
}

// String is one line about the frame.
func (f Frame) String() string {
	p := f.Packet()
	if !p.Source.IsValid() {
		return fmt.Sprintf("%s: ethertype %#04x, %d bytes", f.Machine, p.EtherType, len(f.Data))
	}
	return fmt.Sprintf("%s: %s > %s, protocol %d, %d bytes", f.Machine,
		netip.AddrPortFrom(p.Source, p.SourcePort), netip.AddrPortFrom(p.Target, p.TargetPort), p.Protocol, len(f.Data))
}
