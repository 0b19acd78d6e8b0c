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
	files   []event           // that will come of …
	waiting []hostfs.Wait     // … these, one for one
	clocks  []event
	soonest time.Duration // of the clocks
}

// event is what was subscribed to.
type event struct {
	userdata uint64
	kind     byte
	left     time.Duration // of a clock: until it is time
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

func (p *poll) subscribe(s []byte) (no errno) {
	e, what := event{userdata: binary.LittleEndian.Uint64(s), kind: s[8]}, binary.LittleEndian.Uint32(s[16:])
	switch e.kind {
	case ofClock:
		if e.left, no = p.clock(what, binary.LittleEndian.Uint64(s[24:]), binary.LittleEndian.Uint16(s[40:])); no != success {
			return no
		}
		p.clocks = append(p.clocks, e)
		p.soonest = min(p.soonest, e.left)
	case ofRead, ofWrite:
		d, no := p.find(what, mayPoll)
		if no != success {
			p.happened(e, no, 0, 0)
			return success
		}
		p.files = append(p.files, e)
		p.waiting = append(p.waiting, hostfs.Wait{File: d.File, Write: e.kind == ofWrite})
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
		const hangup = 1
		switch {
		case w.Ended:
			p.happened(p.files[i], success, w.Bytes, hangup)
		case w.Ready:
			p.happened(p.files[i], success, w.Bytes, 0)
		}
	}
	for _, e := range p.clocks {
		if e.left <= time.Since(begin) {
			p.happened(e, success, 0, 0)
		}
	}
	return success
}
