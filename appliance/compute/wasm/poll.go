package wasm

import (
	"encoding/binary"
	"math"
	"time"

	"phase/appliance/compute/hostfs"
)

// Sizes and tags of poll_oneoff
// (https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#subscription).
const (
	subscriptionSize = 48
	eventSize        = 32
	ofClock          = 0
	ofRead           = 1
	ofWrite          = 2
)

// maxSubscriptions is far more than there can be descriptors and timers in use.
const maxSubscriptions = 4096

// pollOneoff waits for clocks and for any descriptors.
func pollOneoff(c call) errno {
	n := c.arg(2)
	if n == 0 || n > maxSubscriptions {
		return inval
	}
	view, ok := c.Memory().Read(c.arg(0), n*subscriptionSize)
	out, fits := c.Memory().Read(c.arg(1), n*eventSize)
	if !ok || !fits {
		return fault
	}
	in := append([]byte(nil), view...) // the module may have the events written over it
	p := poll{system: c.system, soonest: math.MaxInt64}
	for ; len(in) > 0; in = in[subscriptionSize:] {
		if no := p.subscribe(in[:subscriptionSize]); no != success {
			return no
		}
	}
	if no := p.wait(); no != success {
		return no
	}
	for i, e := range p.events {
		copy(out[i*eventSize:], e[:])
	}
	return c.put32(3, uint32(len(p.events)))
}

// poll is one call of poll_oneoff.
type poll struct {
	*system
	events  [][eventSize]byte // that have come
	waiting []hostfs.Wait
	of      []event // … of which these events will be
	clocks  []timer
	soonest time.Duration // of the clocks
}

type event struct {
	userdata uint64
	kind     byte
}

type timer struct {
	event
	left time.Duration
}

func (p *poll) happened(e event, no errno, bytes int, flags uint16) {
	var b [eventSize]byte
	binary.LittleEndian.PutUint64(b[:], e.userdata)
	binary.LittleEndian.PutUint16(b[8:], uint16(no))
	b[10] = e.kind
	binary.LittleEndian.PutUint64(b[16:], uint64(bytes))
	binary.LittleEndian.PutUint16(b[24:], flags)
	p.events = append(p.events, b)
}

func (p *poll) subscribe(s []byte) errno {
	e := event{binary.LittleEndian.Uint64(s), s[8]}
	switch e.kind {
	case ofClock:
		left, no := p.clock(binary.LittleEndian.Uint32(s[16:]), binary.LittleEndian.Uint64(s[24:]), binary.LittleEndian.Uint16(s[40:]))
		if no != success {
			return no
		}
		p.clocks = append(p.clocks, timer{e, left})
		p.soonest = min(p.soonest, left)
	case ofRead, ofWrite:
		p.descriptor(e, binary.LittleEndian.Uint32(s[16:]))
	default:
		return inval
	}
	return success
}

// clock returns how long it is until a time, which is from now on unless the
// flag says otherwise.
func (p *poll) clock(id uint32, at uint64, flags uint16) (time.Duration, errno) {
	now, no := p.now(id)
	if no != success || flags > 1 {
		return 0, inval
	}
	left := int64(min(at, math.MaxInt64))
	if flags == 1 {
		left -= now
	}
	return time.Duration(max(left, 0)), success
}

// descriptor waits for one, or knows already: files and folders are always
// ready.
func (p *poll) descriptor(e event, fd uint32) {
	d, no := p.find(fd, mayPoll)
	if no != success {
		p.happened(e, no, 0, 0)
		return
	}
	p.waiting = append(p.waiting, hostfs.Wait{File: d.File, Write: e.kind == ofWrite})
	p.of = append(p.of, e)
}

// wait waits for the first of what was subscribed to.
func (p *poll) wait() errno {
	timeout := p.soonest
	if len(p.events) > 0 {
		timeout = 0
	} else if len(p.clocks) == 0 {
		timeout = -1
	}
	begin := time.Now()
	if err := hostfs.Poll(p.waiting, timeout); err != nil {
		return ioerr
	}
	for i, w := range p.waiting {
		if w.Ready {
			const hangup = 1
			var flags uint16
			if w.Ended {
				flags = hangup
			}
			p.happened(p.of[i], success, w.Bytes, flags)
		}
	}
	for _, t := range p.clocks {
		if t.left <= time.Since(begin) {
			p.happened(t.event, success, 0, 0)
		}
	}
	return success
}
