package wasm

import (
	"encoding/binary"
	"math"
	"syscall"

	"phase/appliance/compute/hostfs"
)

// maxVectors is how many pieces one call reads or writes, as in the kernel
// (UIO_MAXIOV); with more it is a short read or write.
const maxVectors = 1024

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
	for ; len(list) > 0 && len(pieces) < maxVectors; list = list[size:] {
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

func read(d *descriptor, _ call, to [][]byte) (int, errno) {
	return d.transfer(false, to, hostfs.File.Read)
}

func write(d *descriptor, _ call, from [][]byte) (int, errno) {
	if len(from) > 0 && d.nonblocking() {
		from = [][]byte{from[0][:min(len(from[0]), atOnce)]}
	}
	return d.transfer(true, from, hostfs.File.Write)
}

// atOnce is how many bytes a pipe takes whole if it takes any (PIPE_BUF).
const atOnce = 4096

// nonblocking reports whether calls must not block although the kernel's would:
// see setFlags.
func (d *descriptor) nonblocking() bool { return d.given && d.flags&nonblock != 0 }

// transfer reads or writes once. It waits or does not wait as the module has set
// it, also for a stream whose flags in the kernel differ.
func (d *descriptor) transfer(writing bool, pieces [][]byte, do func(hostfs.File, [][]byte) (int, error)) (int, errno) {
	if len(pieces) == 0 {
		return 0, success
	}
	wait := []hostfs.Wait{{File: d.File, Write: writing}}
	for {
		if d.nonblocking() {
			if err := hostfs.Poll(wait, 0); err != nil {
				return 0, errnoOf(err)
			}
			if !wait[0].Ready {
				return 0, again
			}
		}
		n, err := do(d.File, pieces)
		if err != syscall.EAGAIN || d.flags&nonblock != 0 {
			return max(n, 0), errnoOf(err)
		}
		if err := hostfs.Poll(wait, -1); err != nil {
			return 0, errnoOf(err)
		}
	}
}

func pread(d *descriptor, c call, to [][]byte) (int, errno) {
	return d.position(c, to, hostfs.File.Pread)
}

func pwrite(d *descriptor, c call, from [][]byte) (int, errno) {
	return d.position(c, from, hostfs.File.Pwrite)
}

// position reads or writes at an offset, one piece after the other.
func (d *descriptor) position(c call, pieces [][]byte, do func(hostfs.File, []byte, int64) (int, error)) (int, errno) {
	if d.base&maySeek == 0 && d.kind == regular {
		return 0, notcapable
	}
	at := c.arg64(3)
	if at > math.MaxInt64 {
		return 0, inval
	}
	done := 0
	for _, piece := range pieces {
		n, err := do(d.File, piece, int64(at)+int64(done))
		if err != nil && done == 0 {
			return 0, errnoOf(err)
		}
		done += max(n, 0)
		if n < len(piece) {
			break
		}
	}
	return done, success
}

// seek moves; how (from the start, from here, from the end) is as in lseek(2).
func seek(c call, d *descriptor) errno {
	const fromEnd = 2
	if c.arg(2) > fromEnd {
		return inval
	}
	return d.seek(c, int64(c.arg64(1)), int(c.arg(2)), maySeek, 3)
}

func tell(c call, d *descriptor) errno { return d.seek(c, 0, 1, mayTell, 1) }

func (d *descriptor) seek(c call, offset int64, whence int, need rights, result int) errno {
	switch {
	case d.kind == directory:
		return badf
	case d.base&need == 0 && d.kind == character:
		return errnoOf(syscall.ESPIPE)
	case d.base&need == 0:
		return notcapable
	}
	at, err := d.Seek(offset, whence)
	if err != nil {
		return errnoOf(err)
	}
	return c.put64(result, uint64(at))
}
