package qemu

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// maxFrame bounds what QEMU's stream netdev may send: 64 KiB and an Ethernet header with room to spare.
const maxFrame = 68 << 10

// portQueue is how many frames wait for one port before the switch drops, as a real one does: 6 MB of full frames,
// more than the TCP windows of the machines we run.
const portQueue = 4096

// Port is one socket of a segment's switch: a machine's NIC, a Host, or a Tap.
type Port struct {
	name    string
	mac     net.HardwareAddr // of the card behind it; nil for a Tap. A node in private mode sends under another
	segment *Segment
	write   func(frames [][]byte) error // in order; one goroutine calls it
	queue   chan []byte
	stop    chan struct{}
	close   func() // works once

	mu    sync.Mutex
	addrs []netip.Addr
}

// Name is the machine's or host's name, with ".1", ".2" … for a machine's further NICs.
func (p *Port) Name() string { return p.name }

// Close unplugs the port.
func (p *Port) Close() error {
	p.close()
	return nil
}

// Send puts a frame on the segment as if the port's owner had sent it.
func (p *Port) Send(frame []byte) { p.segment.forward(p, slices.Clone(frame)) }

// Addrs lists the link-local addresses the port was seen to send from, oldest first: how to reach a node that does not
// take its address from its MAC. At most 64 are kept.
func (p *Port) Addrs() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.addrs)
}

func (p *Port) learn(frame []byte) {
	var a netip.Addr
	switch binary.BigEndian.Uint16(frame[12:14]) {
	case 0x86dd:
		if len(frame) >= 14+40 {
			a = netip.AddrFrom16([16]byte(frame[22:38]))
		}
	case 0x0800:
		if len(frame) >= 14+20 {
			a = netip.AddrFrom4([4]byte(frame[26:30]))
		}
	}
	if !a.IsLinkLocalUnicast() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.addrs) < 64 && !slices.Contains(p.addrs, a) {
		p.addrs = append(p.addrs, a)
	}
}

// enqueue never blocks: a slow machine must not stop the segment. What finds the queue full is lost.
func (p *Port) enqueue(frame []byte) {
	select {
	case p.queue <- frame:
	default:
	}
}

// run writes what is queued, as many frames at once as there are: under emulation the system calls are what costs.
func (p *Port) run() {
	batch := make([][]byte, 0, 64)
	for {
		select {
		case frame := <-p.queue:
			batch = append(batch, frame)
		case <-p.stop:
			return
		}
		for more := true; more && len(batch) < cap(batch); {
			select {
			case frame := <-p.queue:
				batch = append(batch, frame)
			default:
				more = false
			}
		}
		if p.write(batch) != nil {
			p.Close()
			return
		}
		clear(batch)
		batch = batch[:0]
	}
}

// readFrame reads one frame of QEMU's stream protocol. It refuses a length no NIC sends.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return nil, fmt.Errorf("reading a frame from QEMU: length %d is over %d", n, maxFrame)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("reading a frame of %d bytes from QEMU: %w", n, err)
	}
	return frame, nil
}

// plugStream plugs in one end of a machine's `-netdev stream` and forwards what it sends until it closes. Each frame
// stands behind its length, four bytes big-endian.
func (s *Segment) plugStream(name string, mac net.HardwareAddr, conn net.Conn) (*Port, error) {
	var buf []byte
	p, err := s.plug(name, mac, func(frames [][]byte) error {
		buf = buf[:0]
		for _, f := range frames {
			buf = binary.BigEndian.AppendUint32(buf, uint32(len(f)))
			buf = append(buf, f...)
		}
		_, err := conn.Write(buf)
		return err
	}, func() { conn.Close() })
	if err != nil {
		return nil, err
	}
	go func() {
		defer p.Close()
		r := bufio.NewReaderSize(conn, 256<<10)
		for {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			s.forward(p, frame)
		}
	}()
	return p, nil
}

// Tap plugs in a bare port: receive gets the frames for it, Port.Send puts frames on the segment as they are. For tests
// that must say what no network stack would. receive is called by one goroutine and must not change the frame.
func (s *Segment) Tap(name string, receive func(frame []byte)) (*Port, error) {
	return s.plug(name, nil, func(frames [][]byte) error {
		for _, f := range frames {
			receive(f)
		}
		return nil
	}, func() {})
}
