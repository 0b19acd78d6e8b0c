package link

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// linkLocalPrefix is where a node without a server finds its address.
var linkLocalPrefix = netip.MustParsePrefix("169.254.0.0/16")

// The constants of RFC 3927 §9. The gaps between probes are drawn from the lower
// end of what it allows (1–2 s), because a node on a segment without servers
// should be there within five seconds or so.
const (
	probeWait      = time.Second // before the first probe, drawn from 0 to this
	probeMin       = time.Second // between probes, drawn from probeMin to probeMax
	probeMax       = 1200 * time.Millisecond
	probes         = 3
	announceWait   = 2 * time.Second // after the last probe
	announceGap    = 2 * time.Second
	announcements  = 2
	defendInterval = 10 * time.Second
	maxConflicts   = 10
	rateLimit      = time.Minute // between attempts after maxConflicts
)

// linkLocal claims and defends one address of 169.254/16 on one interface.
type linkLocal struct {
	index int
	own   hardwareAddr
	log   *slog.Logger
	// assign puts the address on the interface, drop takes it away.
	assign func(netip.Addr) error
	drop   func(netip.Addr)
	// last is the address held before, tried first.
	last netip.Addr

	socket *packet.Conn
	random *rand.Rand
}

// candidates begins the sequence of addresses to try. It depends on the
// hardware address alone, so that a machine asks for the same address again
// after each start, RFC 3927 §2.1.
func candidates(own hardwareAddr) *rand.Rand {
	h := fnv.New64a()
	h.Write(own[:])
	return rand.New(rand.NewPCG(h.Sum64(), 3927))
}

// candidate is one of 169.254.1.0 – 169.254.254.255: RFC 3927 §2.1 keeps the
// first and last 256 addresses.
func candidate(r *rand.Rand) netip.Addr {
	n := 256 + r.IntN(65536-512)
	return netip.AddrFrom4([4]byte{169, 254, byte(n >> 8), byte(n)})
}

// run holds an address until ctx ends or the interface fails, then drops it.
func (l *linkLocal) run(ctx context.Context) error {
	socket, err := openPacket(l.index, unix.ETH_P_ARP, nil)
	if err != nil {
		return err
	}
	l.socket = socket
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	l.random = candidates(l.own)
	conflicts := 0
	for {
		addr := l.last
		if !addr.IsValid() {
			addr = candidate(l.random)
		}
		l.last = netip.Addr{}
		// After many conflicts the segment is crowded or hostile, and the node
		// must not make it worse, RFC 3927 §2.2.1.
		if conflicts >= maxConflicts {
			if err := l.listen(ctx, rateLimit, nil); err != nil {
				return err
			}
		}
		free, err := l.probe(ctx, addr)
		if err != nil {
			return err
		}
		if !free {
			conflicts++
			l.log.Info("a link-local address is another's", "address", addr.String())
			continue
		}
		err = l.hold(ctx, addr)
		l.drop(addr)
		if err != nil {
			l.last = addr
			return err
		}
		conflicts++
		l.log.Warn("a link-local address was lost to another station", "address", addr.String())
	}
}

func (l *linkLocal) probe(ctx context.Context, addr netip.Addr) (free bool, err error) {
	conflict := func(p arpPacket) bool { return p.claims(addr, l.own) || p.probes(addr, l.own) }
	wait := rand.N(probeWait + 1)
	for i := 0; ; i++ {
		err := l.listen(ctx, wait, conflict)
		if errors.Is(err, errConflict) {
			return false, nil
		}
		if err != nil || i == probes {
			return err == nil, err
		}
		if err := broadcast(l.socket, arpProbe(l.own, addr)); err != nil {
			return false, err
		}
		wait = probeMin + rand.N(probeMax-probeMin+1)
		if i == probes-1 {
			wait = announceWait
		}
	}
}

// hold keeps the address until it must be given up (nil) or ctx ends.
func (l *linkLocal) hold(ctx context.Context, addr netip.Addr) error {
	if err := l.assign(addr); err != nil {
		return err
	}
	conflict := func(p arpPacket) bool { return p.claims(addr, l.own) }
	var defended time.Time
	announced := 0
	wait := time.Duration(0)
	for {
		err := l.listen(ctx, wait, conflict)
		switch {
		case errors.Is(err, errConflict):
			// RFC 3927 §2.5 (b): one conflict is answered with an announcement,
			// a second within the interval means that the other does not yield.
			if !defended.IsZero() && time.Since(defended) < defendInterval {
				return nil
			}
			defended = time.Now()
			l.log.Info("defending a link-local address", "address", addr.String())
			if err := broadcast(l.socket, arpAnnouncement(l.own, addr)); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		wait = time.Hour
		if announced < announcements {
			if err := broadcast(l.socket, arpAnnouncement(l.own, addr)); err != nil {
				return err
			}
			if announced++; announced < announcements {
				wait = announceGap
			}
		}
	}
}

var errConflict = errors.New("another station has the address")

// listen reads ARP for a while and returns errConflict as soon as a message
// is one, nil when the time is over.
func (l *linkLocal) listen(ctx context.Context, wait time.Duration, conflict func(arpPacket) bool) error {
	if err := l.socket.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	buf := make([]byte, maxFrame)
	for {
		n, _, err := l.socket.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		p, err := parseARP(buf[:n])
		if err == nil && conflict != nil && conflict(p) {
			return errConflict
		}
	}
}
