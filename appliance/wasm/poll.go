package wasm

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"time"

	"phase/appliance/sandbox"
)

// streams is the context's key of the files that are descriptors 0, 1 and 2.
type streams struct{}

// Sizes and tags of poll_oneoff
// (https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#subscription).
const (
	subscriptionSize = 48
	eventSize        = 32
	ofClock          = 0
	ofRead           = 1
	ofWrite          = 2
	realtime         = 0
	monotonic        = 1
)

// maxSubscriptions is far more than there can be descriptors and timers in use.
const maxSubscriptions = 4096

// pollOneoff waits for clocks, absolute ones too, and for any descriptors;
// wazero's knows relative clocks and standard input.
func pollOneoff(ctx context.Context, c call) uint32 {
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
	p := poll{ctx: ctx, call: c, soonest: math.MaxInt64}
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
	if !c.Memory().WriteUint32Le(c.arg(3), uint32(len(p.events))) {
		return fault
	}
	return success
}

// poll is one call of poll_oneoff.
type poll struct {
	ctx context.Context
	call
	events  [][eventSize]byte // that have come
	waiting []sandbox.Wait
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

func (p *poll) happened(e event, no uint16) {
	var b [eventSize]byte
	binary.LittleEndian.PutUint64(b[:], e.userdata)
	binary.LittleEndian.PutUint16(b[8:], no)
	b[10] = e.kind
	if e.kind != ofClock && no == success {
		binary.LittleEndian.PutUint64(b[16:], 1) // at least a byte; how many is not known
	}
	p.events = append(p.events, b)
}

func (p *poll) subscribe(s []byte) uint32 {
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
func (p *poll) clock(id uint32, at uint64, flags uint16) (time.Duration, uint32) {
	if id > monotonic || flags > 1 {
		return 0, inval
	}
	left := int64(min(at, math.MaxInt64))
	if flags == 1 {
		method := "Nanotime"
		if id == realtime {
			method = "WalltimeNanos"
		}
		left -= p.system().MethodByName(method).Call(nil)[0].Int()
	}
	return time.Duration(max(left, 0)), success
}

// descriptor waits for one, or knows already: what is neither a stream of the
// module nor a file of a folder is always ready.
func (p *poll) descriptor(e event, fd uint32) {
	d, ok := p.call.descriptor(fd)
	if !ok {
		p.happened(e, badf)
		return
	}
	given, _ := p.ctx.Value(streams{}).([3]*os.File)
	if f, ours := d.file().(*file); ours {
		p.await(e, f.anchor)
	} else if fd < 3 && given[fd] != nil {
		p.await(e, given[fd])
	} else {
		p.happened(e, success)
	}
}

func (p *poll) await(e event, f *os.File) {
	p.waiting = append(p.waiting, sandbox.Wait{FD: f.Fd(), Write: e.kind == ofWrite})
	p.of = append(p.of, e)
}

// wait waits for the first of what was subscribed to.
func (p *poll) wait() uint32 {
	timeout := p.soonest
	if len(p.events) > 0 {
		timeout = 0
	} else if len(p.clocks) == 0 {
		timeout = -1
	}
	begin := time.Now()
	if err := sandbox.Poll(p.waiting, timeout); err != nil {
		return ioerr
	}
	for i, w := range p.waiting {
		if w.Ready {
			p.happened(p.of[i], success)
		}
	}
	for _, t := range p.clocks {
		if t.left <= time.Since(begin) {
			p.happened(t.event, success)
		}
	}
	return success
}
