package qemu

import (
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"time"
)

// capture writes the classic pcap format with nanoseconds (magic a1b23c4d, link type 1 = Ethernet), see
// draft-ietf-opsawg-pcap.
type capture struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

// Capture writes every frame that crosses the segment to w, in pcap format, until stop is called; stop returns the first
// error w gave. Each frame is written once, even when no port received it. w is not closed.
func (s *Segment) Capture(w io.Writer) (stop func() error, err error) {
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = binary.LittleEndian.AppendUint64(head, 0)
	head = binary.LittleEndian.AppendUint32(head, maxFrame)
	head = binary.LittleEndian.AppendUint32(head, 1)
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	c := &capture{w: w}
	s.mu.Lock()
	s.captures = append(s.captures, c)
	s.mu.Unlock()
	return func() error {
		s.mu.Lock()
		s.captures = slices.DeleteFunc(s.captures, func(o *capture) bool { return o == c })
		s.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	}, nil
}

func (c *capture) frame(at time.Time, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	rec := binary.LittleEndian.AppendUint32(make([]byte, 0, 16+len(frame)), uint32(at.Unix()))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(at.Nanosecond()))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(frame)))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(frame)))
	_, c.err = c.w.Write(append(rec, frame...))
}
