package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"

	"go.etcd.io/bbolt"
)

// The parts of a bbolt file that tell where its pages are
// (https://github.com/etcd-io/bbolt, internal/common: page.go, meta.go, bucket.go).
const (
	pageHeader = 16 // number, flags, count, overflow
	element    = 16
	bucketSize = 16 // the number of its first page, and a sequence

	isBranch = 0x01
	isLeaf   = 0x02
	isBucket = 0x01 // of an element of a leaf

	metaSum = 56 // where in a meta page, after its header, its sum is
)

// check refuses a database that its library would read for ever, or fault on,
// or find out about when it writes: what it opens, it believes.
func check(db *bbolt.DB, file io.ReaderAt) error {
	return db.View(func(tx *bbolt.Tx) error {
		p := pages{file: file, size: int64(db.Info().PageSize), seen: map[uint64]bool{}}
		root, free, err := p.meta()
		if err == nil {
			err = p.walk(root)
		}
		if err == nil {
			free, err = p.list(free)
		}
		if err != nil {
			return err
		}
		// The library does not compare the pages that others run over into.
		if known := 2 + uint64(len(p.seen)) + free; known != p.most {
			return fmt.Errorf("of %d pages %d are known", p.most, known)
		}
		for problem := range tx.Check() { // to its end, or it waits for ever
			err = errors.Join(err, problem)
		}
		return err
	})
}

// pages are those of a file.
type pages struct {
	file io.ReaderAt
	size int64
	most uint64          // no page has this number or a higher one
	seen map[uint64]bool // that were taken
}

// meta returns the numbers of the first page of all and of the first one of the
// list of those that are free, from the newer of two meta pages that is whole.
func (p *pages) meta() (root, free uint64, err error) {
	const magic, rootAt, freeAt, mostAt, writtenAt = 0xED0CDAED, 16, 32, 40, 48
	var newest uint64
	for i := range int64(2) {
		var b [metaSum + 8]byte
		if _, err := p.file.ReadAt(b[:], i*p.size+pageHeader); err != nil {
			return 0, 0, err
		}
		sum := fnv.New64a()
		sum.Write(b[:metaSum]) // a hash takes everything
		written := binary.NativeEndian.Uint64(b[writtenAt:])
		if binary.NativeEndian.Uint32(b[:]) != magic || sum.Sum64() != binary.NativeEndian.Uint64(b[metaSum:]) || p.most > 0 && written < newest {
			continue
		}
		root, free, newest = binary.NativeEndian.Uint64(b[rootAt:]), binary.NativeEndian.Uint64(b[freeAt:]), written
		p.most = binary.NativeEndian.Uint64(b[mostAt:])
	}
	if p.most == 0 || p.most > uint64(math.MaxInt64/p.size) {
		return 0, 0, errors.New("it has no meta page")
	}
	return root, free, nil
}

// list looks at the list of free pages and returns how many are in it.
func (p *pages) list(id uint64) (free uint64, err error) {
	header, err := p.take(id)
	if err != nil {
		return 0, err
	}
	if free = uint64(binary.NativeEndian.Uint16(header[10:])); free < math.MaxUint16 {
		return free, nil
	}
	var b [8]byte // where a count has no room
	if _, err := p.file.ReadAt(b[:], int64(id)*p.size+pageHeader); err != nil {
		return 0, fmt.Errorf("page %d: %w", id, err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

// take reads the header of a page that nobody has taken yet.
func (p *pages) take(id uint64) (header [pageHeader]byte, err error) {
	if id < 2 || id >= p.most {
		return header, fmt.Errorf("page %d: there is none", id)
	}
	if _, err := p.file.ReadAt(header[:], int64(id)*p.size); err != nil {
		return header, fmt.Errorf("page %d: %w", id, err)
	}
	over := overflow(header)
	if binary.NativeEndian.Uint64(header[:]) != id || over >= p.most-id {
		return header, fmt.Errorf("page %d: it is another", id)
	}
	for i := id; i <= id+over; i++ {
		if p.seen[i] {
			return header, fmt.Errorf("page %d: it is there twice", i)
		}
		p.seen[i] = true
	}
	return header, nil
}

// overflow is how many pages behind it are of a page.
func overflow(header [pageHeader]byte) uint64 {
	return uint64(binary.NativeEndian.Uint32(header[12:]))
}

// walk looks at a page and all below it.
func (p *pages) walk(id uint64) error {
	header, err := p.take(id)
	if err != nil {
		return err
	}
	below, err := p.elements(int64(id)*p.size, int64(overflow(header)+1)*p.size, header)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	for _, next := range below {
		if err := p.walk(next); err != nil {
			return err
		}
	}
	return nil
}

// elements looks at the elements of a page and returns the pages they name.
func (p *pages) elements(at, length int64, header [pageHeader]byte) (below []uint64, err error) {
	flags, count := binary.NativeEndian.Uint16(header[8:]), int64(binary.NativeEndian.Uint16(header[10:]))
	if flags != isBranch && flags != isLeaf || flags == isBranch && count == 0 || pageHeader+count*element > length {
		return nil, errors.New("it is of no kind")
	}
	list := make([]byte, count*element)
	if _, err := p.file.ReadAt(list, at+pageHeader); err != nil {
		return nil, err
	}
	for i := range count {
		e := list[i*element:]
		word := func(i int) int64 { return int64(binary.NativeEndian.Uint32(e[4*i:])) }
		begin := pageHeader + i*element
		if flags == isBranch {
			if begin+word(0)+word(1) > length {
				return nil, errors.New("a key is not in it")
			}
			below = append(below, binary.NativeEndian.Uint64(e[8:]))
			continue
		}
		value := begin + word(1) + word(2)
		if value+word(3) > length {
			return nil, errors.New("a value is not in it")
		}
		if word(0)&isBucket == 0 {
			continue
		}
		first, err := p.bucket(at+value, word(3))
		if err != nil {
			return nil, err
		}
		below = append(below, first...)
	}
	return below, nil
}

// bucket looks at a bucket, which names its first page, or has it in itself.
func (p *pages) bucket(at, length int64) (below []uint64, err error) {
	var b [bucketSize]byte
	if length < bucketSize {
		return nil, errors.New("a bucket is too short")
	}
	if _, err := p.file.ReadAt(b[:], at); err != nil {
		return nil, err
	}
	if first := binary.NativeEndian.Uint64(b[:]); first != 0 {
		return []uint64{first}, nil
	}
	var header [pageHeader]byte
	if length < bucketSize+pageHeader {
		return nil, errors.New("a bucket is too short")
	}
	if _, err := p.file.ReadAt(header[:], at+bucketSize); err != nil {
		return nil, err
	}
	below, err = p.elements(at+bucketSize, length-bucketSize, header)
	if err == nil && len(below) > 0 {
		err = errors.New("there is a bucket where none can be")
	}
	return below, err
}
