package netlab

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// Wire is what a switch does to the frames that cross it.
type Wire struct {
	Delay time.Duration // from one interface to another, one way
	Loss  float64       // the share of frames that never arrive, 0 to 1
	Least int           // shorter frames never arrive; they count as lost
}

// Counts are the frames that a switch has seen.
type Counts struct {
	Received  int // from interfaces
	Delivered int // to interfaces; one to all counts once for each
	Lost      int // by Wire.Loss and Wire.Least
	Cut       int // to or from an interface that is cut
	Overflown int // a queue was full
}

// queueLength is how many frames may be on their way to one interface: at
// 1,500 bytes and 20 ms this is more than a gigabit per second.
const queueLength = 4096

// frameSize holds an Ethernet frame with its header and a tag, at an MTU of 1500.
const frameSize = 2048

// Switch joins interfaces as an Ethernet switch does. Its ports are TAP
// devices in the machines, and its backplane is this process, which can delay,
// lose, count and capture frames.
type Switch struct {
	Name string

	mu       sync.Mutex
	wire     Wire
	ports    []*Port
	at       map[[6]byte]*Port // where an address was last seen
	counts   Counts
	captures []*Capture
	random   *rand.Rand
}

// NewSwitch makes a switch; name is for messages.
func NewSwitch(t testing.TB, name string, wire Wire) *Switch {
	t.Helper()
	NeedRoot(t)
	// The same seed in every run: the same frames are lost, as far as the
	// programs send the same.
	return &Switch{Name: name, wire: wire, at: map[[6]byte]*Port{}, random: rand.New(rand.NewPCG(1, 2))}
}

// SetWire changes what happens to frames from now on.
func (s *Switch) SetWire(wire Wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire = wire
}

// Counts returns what the switch has seen so far.
func (s *Switch) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Port is an interface of a machine that is joined to a switch.
type Port struct {
	Machine   *Machine
	Interface string
	Switch    *Switch
	tap       *os.File
	cut       bool // guarded by s.mu
	queue     chan queued
	ended     chan struct{}
}

// queued is a frame on its way.
type queued struct {
	due   time.Time
	frame []byte
}

// Join makes an interface in the machine, raised, with the addresses given
// (CIDR), and joins it to the switch.
func (s *Switch) Join(t testing.TB, m *Machine, name string, addresses ...string) *Port {
	t.Helper()
	p := &Port{Machine: m, Interface: name, Switch: s, queue: make(chan queued, queueLength), ended: make(chan struct{})}
	m.Do(t, func() (err error) {
		p.tap, err = openTAP(name)
		return err
	})
	s.mu.Lock()
	s.ports = append(s.ports, p)
	s.mu.Unlock()
	var running sync.WaitGroup
	running.Go(p.read)
	running.Go(p.deliver)
	t.Cleanup(func() {
		close(p.ended)
		p.tap.Close() // the interface goes with it
		running.Wait()
	})
	m.Do(t, func() error { return raise(name, addresses) })
	return p
}

// read takes frames from the interface until it is closed.
func (p *Port) read() {
	buf := make([]byte, frameSize)
	for {
		n, err := p.tap.Read(buf)
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			select {
			case <-p.ended:
				return
			default:
				continue // the interface is lowered: there is nothing to read
			}
		}
		if n >= 14 {
			p.Switch.forward(p, append([]byte(nil), buf[:n]...))
		}
	}
}

// forward passes a frame on to the port where its destination was last seen,
// or to all.
func (s *Switch) forward(from *Port, frame []byte) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Received++
	if from.cut {
		s.counts.Cut++
		return
	}
	to, source := [6]byte(frame[0:6]), [6]byte(frame[6:12])
	s.at[source] = from
	for _, c := range s.captures {
		c.add(now, from, frame)
	}
	if len(frame) < s.wire.Least || s.wire.Loss > 0 && s.random.Float64() < s.wire.Loss {
		s.counts.Lost++
		return
	}
	q := queued{now.Add(s.wire.Delay), frame}
	if port := s.at[to]; port != nil && to[0]&1 == 0 {
		if port != from {
			s.enqueue(port, q)
		}
		return
	}
	for _, port := range s.ports {
		if port != from {
			s.enqueue(port, q)
		}
	}
}

// enqueue is called with s.mu held.
func (s *Switch) enqueue(to *Port, q queued) {
	if to.cut {
		s.counts.Cut++
		return
	}
	select {
	case to.queue <- q:
		s.counts.Delivered++
	default:
		s.counts.Overflown++
	}
}

// deliver writes frames to the interface when they are due.
func (p *Port) deliver() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-p.ended:
			return
		case q := <-p.queue:
			if wait := time.Until(q.due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-p.ended:
					return
				}
			}
			p.Switch.mu.Lock()
			cut := p.cut
			p.Switch.mu.Unlock()
			if !cut {
				p.tap.Write(q.frame) // an interface that is down takes none
			}
		}
	}
}

// Cut stops all frames to and from the interface, those on their way too. The
// machine keeps its carrier and is not told: what a dead cable beyond the next
// switch looks like.
func (p *Port) Cut() { p.setCut(true) }

// Restore undoes Cut.
func (p *Port) Restore() { p.setCut(false) }

func (p *Port) setCut(cut bool) {
	p.Switch.mu.Lock()
	defer p.Switch.mu.Unlock()
	p.cut = cut
}

// Pull takes the carrier away from the interface, as a pulled cable does.
func (p *Port) Pull(t testing.TB) {
	t.Helper()
	p.Cut()
	if err := setCarrier(p.tap, false); err != nil {
		t.Fatal(err)
	}
}

// PlugIn undoes Pull.
func (p *Port) PlugIn(t testing.TB) {
	t.Helper()
	if err := setCarrier(p.tap, true); err != nil {
		t.Fatal(err)
	}
	p.Restore()
}

// etherType is what a frame carries: its type field.
func etherType(frame []byte) (kind uint16, payload []byte) {
	if len(frame) < 14 {
		return 0, nil
	}
	return binary.BigEndian.Uint16(frame[12:]), frame[14:]
}
