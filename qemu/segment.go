package qemu

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Filter says for each frame, and each port it would be handed to, whether it is lost on the way. It runs in the switch,
// under its lock: it must not block and must not call the segment. The frame (Ethernet, no checksum at the end) must not be
// changed or kept.
type Filter func(from, to *Port, frame []byte) (drop bool)

// Segment is one Ethernet segment: a learning switch whose ports are machines and in-process hosts. A frame is never
// echoed to its sender. The first host, the observer, is made with the segment.
type Segment struct {
	mu       sync.Mutex
	ports    []*Port
	learned  map[[6]byte]*Port
	filter   Filter
	captures []*capture
	hosts    int
	closed   bool

	observer *Host
}

// NewSegment makes a segment with one host on it, the observer.
func NewSegment() (*Segment, error) {
	s := &Segment{learned: map[[6]byte]*Port{}}
	h, err := s.NewHost("observer")
	if err != nil {
		return nil, err
	}
	s.observer = h
	return s, nil
}

// Close unplugs everything. Machines on the segment go on without a network.
func (s *Segment) Close() error {
	s.mu.Lock()
	s.closed = true
	ports := slices.Clone(s.ports)
	s.mu.Unlock()
	for _, p := range ports {
		p.Close()
	}
	return nil
}

// SetFilter puts f in the way of every frame; nil takes it away.
func (s *Segment) SetFilter(f Filter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter = f
}

// plug adds a port: write sends it frames, unplugged is called after the last. The MAC (may be nil) is only compared with those of the other ports: two machines with one MAC
// would take each other's frames, and the test that did it would fail in strange ways.
func (s *Segment) plug(name string, mac net.HardwareAddr, write func([][]byte) error, unplugged func()) (*Port, error) {
	p := &Port{name: name, mac: mac, segment: s, write: write, queue: make(chan []byte, portQueue), stop: make(chan struct{})}
	p.close = sync.OnceFunc(func() {
		close(p.stop)
		s.unplug(p)
		unplugged()
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("plugging %s into the segment: it is closed", name)
	}
	for _, o := range s.ports {
		if mac != nil && o.mac.String() == mac.String() {
			return nil, fmt.Errorf("plugging %s into the segment: %s already has the MAC %s; give one of them another name or MAC", name, o.name, mac)
		}
	}
	s.ports = append(s.ports, p)
	go p.run()
	return p, nil
}

func (s *Segment) unplug(p *Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = slices.DeleteFunc(s.ports, func(o *Port) bool { return o == p })
	for mac, o := range s.learned {
		if o == p {
			delete(s.learned, mac)
		}
	}
}

// forward hands a frame that from sent to those it is for. The frame is shared between ports and not changed again.
func (s *Segment) forward(from *Port, frame []byte) {
	if len(frame) < 14 {
		return
	}
	dst, src := [6]byte(frame[0:6]), [6]byte(frame[6:12])
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if src[0]&1 == 0 {
		s.learned[src] = from
	}
	from.learn(frame)
	var to []*Port
	if p := s.learned[dst]; p != nil && dst[0]&1 == 0 {
		if p != from {
			to = append(to, p)
		}
	} else {
		for _, p := range s.ports {
			if p != from {
				to = append(to, p)
			}
		}
	}
	for _, p := range to {
		if s.filter == nil || !s.filter(from, p, frame) {
			p.enqueue(frame)
		}
	}
	for _, c := range s.captures {
		c.frame(now, frame)
	}
}
