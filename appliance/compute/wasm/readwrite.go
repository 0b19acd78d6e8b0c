package wasm

import (
	"encoding/binary"
	"math"
	"syscall"

	"phase/appliance/compute/hostfs"
)

// mostVectors is how many pieces one call reads or writes; what is over is a
// short read or write, as it is to the kernel (UIO_MAXIOV).
const mostVectors = 1024

// vectors are the pieces of memory that parameter i points to, of which there
// are as many as the next parameter says. Empty ones are left out.
func (c call) vectors(i int) ([][]byte, errno) {
	const size = 8
	n := min(c.arg(i+1), math.MaxUint32/size)
	list, ok := c.Memory().Read(c.arg(i), n*size)
	if !ok {
		return nil, fault
	}
	var pieces [][]byte
	for ; len(list) > 0 && len(pieces) < mostVectors; list = list[size:] {
		length := binary.LittleEndian.Uint32(list[4:])
		piece, ok := c.Memory().Read(binary.LittleEndian.Uint32(list), length)
		if !ok {
			return nil, fault
		}
		if length > 0 {
			pieces = append(pieces, piece)
		}
	}
	return pieces, success
}

// reader finds a file that can be read from.
func (s *system) reader(c call) (*descriptor, errno) { return s.stream(c, mayRead) }
func (s *system) writer(c call) (*descriptor, errno) { return s.stream(c, mayWrite) }

func (s *system) stream(c call, need rights) (*descriptor, errno) {
	d, no := s.find(c.arg(0), 0)
	switch {
	case no != success:
		return nil, no
	case d.folder != nil || d.kind == directory:
		return nil, isdir
	case d.base&need == 0:
		return nil, badf // as read(2) and write(2) have it
	}
	return d, success
}

func read(s *system, c call) errno {
	d, no := s.reader(c)
	if no != success {
		return no
	}
	to, no := c.vectors(1)
	if no != success {
		return no
	}
	n := 0
	if len(to) > 0 {
		n, no = d.transfer(false, func() (int, error) { return d.Read(to) })
	}
	if no != success {
		return no
	}
	return c.put32(3, uint32(n))
}

func write(s *system, c call) errno {
	d, no := s.writer(c)
	if no != success {
		return no
	}
	from, no := c.vectors(1)
	if no != success {
		return no
	}
	n := 0
	if len(from) > 0 {
		if d.quiet() {
			from = [][]byte{from[0][:min(len(from[0]), atOnce)]}
		}
		n, no = d.transfer(true, func() (int, error) { return d.Write(from) })
	}
	if no != success {
		return no
	}
	return c.put32(3, uint32(n))
}

// atOnce is how many bytes a pipe takes whole if it takes any (PIPE_BUF).
const atOnce = 4096

// quiet reports whether calls must not block, of a file that the kernel has
// block: see setFlags.
func (d *descriptor) quiet() bool { return d.given && d.flags&nonblock != 0 }

// transfer reads or writes once, and waits before or not, as the module wants
// it: a stream that it was given may be of the other kind.
func (d *descriptor) transfer(writing bool, do func() (int, error)) (int, errno) {
	wait := []hostfs.Wait{{File: d.File, Write: writing}}
	for {
		if d.quiet() {
			if err := hostfs.Poll(wait, 0); err != nil {
				return 0, number(err)
			}
			if !wait[0].Ready {
				return 0, again
			}
		}
		n, err := do()
		if err != syscall.EAGAIN || d.flags&nonblock != 0 {
			return max(n, 0), number(err)
		}
		if err := hostfs.Poll(wait, -1); err != nil {
			return 0, number(err)
		}
	}
}

func pread(s *system, c call) errno {
	d, no := s.reader(c)
	if no != success {
		return no
	}
	return c.position(d, d.Pread)
}

func pwrite(s *system, c call) errno {
	d, no := s.writer(c)
	if no != success {
		return no
	}
	return c.position(d, d.Pwrite)
}

// position reads or writes at an offset, one piece after the other.
func (c call) position(d *descriptor, do func([]byte, int64) (int, error)) errno {
	pieces, no := c.vectors(1)
	if no != success {
		return no
	}
	if d.base&maySeek == 0 && d.kind == regular {
		return notcapable
	}
	at := c.arg64(3)
	if at > math.MaxInt64 {
		return inval
	}
	done := 0
	for _, piece := range pieces {
		n, err := do(piece, int64(at)+int64(done))
		if err != nil && done == 0 {
			return number(err)
		}
		done += max(n, 0)
		if n < len(piece) {
			break
		}
	}
	return c.put32(4, uint32(done))
}

// seek moves; how (from the start, from here, from the end) is as in lseek(2).
func seek(s *system, c call) errno {
	const fromEnd = 2
	if c.arg(2) > fromEnd {
		return inval
	}
	return s.seek(c, int64(c.arg64(1)), int(c.arg(2)), maySeek, 3)
}

func tell(s *system, c call) errno { return s.seek(c, 0, 1, mayTell, 1) }

func (s *system) seek(c call, offset int64, whence int, need rights, result int) errno {
	d, no := s.find(c.arg(0), 0)
	switch {
	case no != success:
		return no
	case d.kind == directory:
		return badf
	}
	if d.base&need == 0 {
		if d.kind == character {
			return number(syscall.ESPIPE)
		}
		return notcapable
	}
	at, err := d.Seek(offset, whence)
	if err != nil {
		return number(err)
	}
	return c.put64(result, uint64(at))
}
