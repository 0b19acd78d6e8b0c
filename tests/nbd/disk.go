package nbd

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"syscall"
)

// Sector is what a disk writes whole or not at all, in bytes.
const Sector = 512

// blockSize is the unit of the maps below.
const blockSize = 4096

// blocks are contents by number of the block. A block in a map is never changed,
// it is replaced: maps may share it.
type blocks map[int64][]byte

// Disk is a disk in memory. It begins with the bytes of a file, which it never
// changes, and has a cache that is lost in a power cut: what was written since
// the last flush.
type Disk struct {
	base io.ReaderAt
	size int64

	mu      sync.Mutex
	durable blocks   // what was flushed
	cached  blocks   // blocks that were written since, as a reader sees them
	pending []change // the same as what was asked for, oldest first

	power    int           // counts the power-ons; a request of an earlier one is not answered
	on       bool          // requests are answered
	frozen   chan struct{} // closed when they are not any more
	gone     chan struct{} // closed when the disk was pulled out
	countup  int           // requests that may still change the disk before it freezes; 0: no limit
	readOnly bool
	lies     bool // flushes do nothing
	faults   []Fault
	count    Count
}

// change is a write or a trim that was not flushed. A trim has no data.
type change struct {
	offset, length int64
	data           []byte
}

// Count is how often a disk was asked for what.
type Count struct{ Reads, Writes, Trims, Flushes int }

// Changes are the requests that FreezeAfter counts.
func (c Count) Changes() int { return c.Writes + c.Trims + c.Flushes }

// Fault makes a disk answer requests in a range with an error.
type Fault struct {
	First, Last   int64 // bytes of the disk
	Reads, Writes bool  // which requests; a trim counts as a write
}

// What a request that is not carried out returns.
var (
	errFrozen   = errors.New("the power is off: there is no answer")
	errFault    = syscall.EIO
	errReadOnly = syscall.EPERM
)

// NewDisk returns a disk of size bytes, a multiple of 512, that is switched on.
// It begins with what base has; beyond the end of that are zeros.
func NewDisk(base io.ReaderAt, size int64) (*Disk, error) {
	if size <= 0 || size%Sector != 0 {
		return nil, fmt.Errorf("a disk of %d bytes: it must have a multiple of %d", size, Sector)
	}
	d := &Disk{base: base, size: size, durable: blocks{}, cached: blocks{}}
	d.PowerOn()
	return d, nil
}

// Clone returns another disk with what is flushed to this one.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &Disk{base: d.base, size: d.size, durable: maps.Clone(d.durable), cached: blocks{}}
	c.PowerOn()
	return c
}

// Size is the disk's size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Count says what was asked for so far.
func (d *Disk) Count() Count {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Break adds a fault.
func (d *Disk) Break(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, f)
}

// Mend removes all faults.
func (d *Disk) Mend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// SetReadOnly makes the disk refuse to be changed, or lets it be again.
func (d *Disk) SetReadOnly(readOnly bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readOnly = readOnly
}

// Lie makes the disk say that it has flushed and not do so, as a cheap stick may.
// Nothing can be kept safe on it: a test of power cuts that is green with such a
// disk sees nothing.
func (d *Disk) Lie(lies bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = lies
}

// request is one of a client's. data is what is written; the disk keeps it.
type request struct {
	command        uint16
	offset, length int64
	data           []byte
	fua            bool // it is answered once it would survive a power cut
}

// do carries out a request of the power-on numbered power. A read returns data.
func (d *Disk) do(power int, r request) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on || power != d.power {
		return nil, errFrozen
	}
	if r.offset < 0 || r.length < 0 || r.offset > d.size-r.length {
		if r.command == cmdWrite {
			return nil, syscall.ENOSPC
		}
		return nil, syscall.EINVAL
	}
	if err := d.fails(r); err != nil {
		return nil, err
	}
	switch r.command {
	case cmdRead:
		d.count.Reads++
		data := make([]byte, r.length)
		return data, d.read(data, r.offset)
	case cmdWrite, cmdTrim:
		if r.command == cmdWrite {
			d.count.Writes++
		} else {
			d.count.Trims++
		}
		if err := d.change(change{r.offset, r.length, r.data}, r.fua); err != nil {
			return nil, err
		}
	case cmdFlush:
		d.count.Flushes++
		if !d.lies {
			d.flush()
		}
	default:
		return nil, syscall.EINVAL
	}
	if d.countup > 0 {
		if d.countup--; d.countup == 0 {
			d.freeze()
			return nil, errFrozen
		}
	}
	return nil, nil
}

func (d *Disk) fails(r request) error {
	changes := r.command == cmdWrite || r.command == cmdTrim
	if changes && d.readOnly {
		return errReadOnly
	}
	for _, f := range d.faults {
		reaches := r.offset <= f.Last && r.offset+r.length > f.First
		if reaches && (r.command == cmdRead && f.Reads || changes && f.Writes) {
			return errFault
		}
	}
	return nil
}

// change puts a change into the cache; with fua it is durable as well, alone.
func (d *Disk) change(c change, fua bool) error {
	if err := d.apply(c, d.cached, d.cached, d.durable); err != nil {
		return err
	}
	if !fua {
		d.pending = append(d.pending, c)
		return nil
	}
	// What is pending for the same sectors is older, and must not come after.
	var rest []change
	for _, p := range d.pending {
		rest = append(rest, p.without(c.offset, c.offset+c.length)...)
	}
	d.pending = rest
	return d.apply(c, d.durable, d.durable)
}

// without is what is left of a change outside a range.
func (c change) without(begin, end int64) (rest []change) {
	if begin >= c.offset+c.length || end <= c.offset {
		return []change{c}
	}
	if begin > c.offset {
		rest = append(rest, c.part(0, begin-c.offset))
	}
	if end < c.offset+c.length {
		rest = append(rest, c.part(end-c.offset, c.length))
	}
	return rest
}

// part is a piece of a change, from and to counted from its beginning.
func (c change) part(from, to int64) change {
	p := change{offset: c.offset + from, length: to - from}
	if c.data != nil {
		p.data = c.data[from:to]
	}
	return p
}

func (d *Disk) flush() {
	maps.Copy(d.durable, d.cached)
	d.cached, d.pending = blocks{}, nil
}

var zeros = make([]byte, blockSize)

// apply writes a change into into. What of a block it leaves as it was, is in
// the first of from that has the block, or in the file that the disk began with.
func (d *Disk) apply(c change, into blocks, from ...blocks) error {
	for at := c.offset; at < c.offset+c.length; {
		number, begin := at/blockSize, at%blockSize
		n := min(blockSize-begin, c.offset+c.length-at)
		data := zeros[:n]
		if c.data != nil {
			data = c.data[at-c.offset:][:n:n]
		}
		if n < blockSize {
			old, err := d.block(number, from...)
			if err != nil {
				return err
			}
			whole := slices.Clone(old)
			copy(whole[begin:], data)
			data = whole
		}
		into[number] = data
		at += n
	}
	return nil
}

// block returns a block, which must not be changed.
func (d *Disk) block(number int64, from ...blocks) ([]byte, error) {
	for _, f := range from {
		if b, ok := f[number]; ok {
			return b, nil
		}
	}
	b := make([]byte, blockSize)
	if _, err := d.base.ReadAt(b, number*blockSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading what the disk began with: %w", err)
	}
	return b, nil
}

func (d *Disk) read(p []byte, offset int64) error {
	for len(p) > 0 {
		b, err := d.block(offset/blockSize, d.cached, d.durable)
		if err != nil {
			return err
		}
		n := copy(p, b[offset%blockSize:])
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// ReadAt reads what a machine would read now; it is no request of a client. It
// makes a Disk an io.ReaderAt, to copy an image or a partition of it to a file.
func (d *Disk) ReadAt(p []byte, offset int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if offset < 0 || offset >= d.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), d.size-offset))
	if err := d.read(p[:n], offset); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
