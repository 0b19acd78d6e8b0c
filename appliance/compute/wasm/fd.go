package wasm

import (
	"encoding/binary"
	"math"
	"syscall"

	"phase/appliance/compute/hostfs"
)

// Flags of an open file.
const (
	appended = 1 << iota
	dsync
	nonblock
	rsync
	sync
)

// maxAdvice is the largest number that is advice to fd_advise.
const maxAdvice = 5

// advise takes advice on a file that is kept, and does nothing with it.
func advise(c call, d *descriptor) errno {
	switch {
	case d.kind != regular:
		return badf
	case d.base&mayAdvise == 0:
		return notcapable
	case c.arg(3) > maxAdvice || c.arg64(1) > math.MaxInt64 || c.arg64(2) > math.MaxInt64:
		return inval
	}
	return success
}

func allocate(c call, d *descriptor) errno {
	offset, size := c.arg64(1), c.arg64(2)
	if offset > math.MaxInt64 || size > math.MaxInt64-offset {
		return inval
	}
	if size == 0 {
		return success
	}
	return errnoOf(d.Allocate(int64(offset), int64(size)))
}

func fdstat(c call, d *descriptor) errno {
	var b [24]byte
	b[0] = d.kind
	binary.LittleEndian.PutUint16(b[2:], d.flags)
	binary.LittleEndian.PutUint64(b[8:], uint64(d.base))
	binary.LittleEndian.PutUint64(b[16:], uint64(d.inheriting))
	return c.put(1, b[:])
}

// setFlags changes whether a file is appended to and whether its calls block.
// A standard stream is shared with other processes: its flags are kept here and
// not set in the kernel.
func setFlags(c call, d *descriptor) errno {
	const later = appended | nonblock // the others are for opening
	flags := c.arg(1)
	if flags&^(later|uint32(d.flags)) != 0 {
		return inval
	}
	if !d.given {
		if err := d.SetFlags(flags&appended != 0, flags&nonblock != 0); err != nil {
			return errnoOf(err)
		}
	}
	d.flags = d.flags&^later | uint16(flags)&later
	return success
}

// filestatSize is the size in bytes of a filestat record.
const filestatSize = 64

func encodeStat(s hostfs.Stat) []byte {
	b := make([]byte, filestatSize)
	for i, v := range []uint64{
		uint64(s.Dev), s.Ino, uint64(fileType(s.Mode)), uint64(s.Nlink), uint64(s.Size),
		nanoseconds(s.Atim.Unix()), nanoseconds(s.Mtim.Unix()), nanoseconds(s.Ctim.Unix()),
	} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return b
}

// nanoseconds is a time as WASI has it, from 1970 to 2554; others become the
// nearest.
func nanoseconds(seconds, nano int64) uint64 {
	switch {
	case seconds < 0:
		return 0
	case uint64(seconds) > (math.MaxUint64-uint64(nano))/1e9:
		return math.MaxUint64
	}
	return uint64(seconds)*1e9 + uint64(nano)
}

func filestat(c call, d *descriptor) errno {
	stat, err := d.Stat()
	if err != nil {
		return errnoOf(err)
	}
	if d.given && d.kind != regular && d.kind != directory {
		// The times of a terminal or a pipe would tell when others use it.
		stat.Atim, stat.Mtim, stat.Ctim = syscall.Timespec{}, syscall.Timespec{}, syscall.Timespec{}
	}
	return c.put(1, encodeStat(stat))
}

func setSize(c call, d *descriptor) errno {
	if c.arg64(1) > math.MaxInt64 {
		return inval
	}
	return errnoOf(d.Truncate(int64(c.arg64(1))))
}

// times reads the three parameters from i on that set times: access and
// modified, and which of them to set.
func (c call) times(i int) (access, modified int64, no errno) {
	const given, current = 1, 2 // shifted by two for modified
	flags := c.arg(i + 2)
	if flags >= 1<<4 {
		return 0, 0, inval
	}
	var set [2]int64
	for j := range set {
		switch flags >> (2 * j) & (given | current) {
		case 0:
			set[j] = hostfs.Omit
		case given:
			if c.arg64(i+j) > math.MaxInt64 {
				return 0, 0, overflow
			}
			set[j] = int64(c.arg64(i + j))
		case current:
			set[j] = hostfs.Now
		default:
			return 0, 0, inval
		}
	}
	return set[0], set[1], success
}

func setTimes(c call, d *descriptor) errno {
	access, modified, no := c.times(1)
	switch {
	case no != success:
		return no
	case d.readOnly:
		return errnoOf(syscall.EROFS)
	}
	return errnoOf(d.Times(access, modified))
}

// renumber moves a file to the number of another, which is closed.
func renumber(c call) errno {
	d, no := c.find(c.arg(0), 0)
	if _, open := c.find(c.arg(1), 0); no != success || open != success {
		return badf
	}
	if c.arg(0) == c.arg(1) {
		return success
	}
	c.close(c.arg(1)) // an error of closing it is no error of this call
	c.table[c.arg(1)], c.table[c.arg(0)] = d, nil
	return success
}

// prestat returns that a descriptor is a folder of the configuration, and the
// length of its name.
func prestat(c call, d *descriptor) errno {
	if d.preopen == "" {
		return badf
	}
	const isFolder = 0
	return c.put(1, binary.LittleEndian.AppendUint32([]byte{isFolder, 0, 0, 0}, uint32(len(d.preopen))))
}

func prestatName(c call, d *descriptor) errno {
	switch {
	case d.preopen == "":
		return badf
	case int(c.arg(2)) < len(d.preopen):
		return toolong
	}
	return c.put(1, []byte(d.preopen))
}
