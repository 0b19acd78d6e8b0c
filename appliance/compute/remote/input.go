package remote

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync"
	"time"

	"phase/appliance/network/frame"
)

// input is an input that is streamed, between the stream and the module. It is
// a scheduler.Input.
type input struct {
	ended    func()        // says that the module has ended
	patience time.Duration // for the rest to come then

	pieces  chan []byte
	drain   chan struct{} // closed when the module has ended
	all     chan struct{} // closed when all has come, or nothing more will
	drained sync.Once
	rest    []byte // of the piece that is being read

	mu     sync.Mutex
	hash   hash.Hash
	last   bool // all has come
	failed bool // it has not, and will not
	closed bool // what comes does not count any more
}

func newInput() *input {
	return &input{pieces: make(chan []byte), drain: make(chan struct{}), all: make(chan struct{}), hash: sha256.New()}
}

// put takes a piece, and returns when the module has begun to read it or has
// ended.
func (i *input) put(piece []byte) error {
	i.mu.Lock()
	if i.last {
		i.mu.Unlock()
		return errors.Join(frame.ErrProtocol, errors.New("input behind the last of it"))
	}
	if !i.closed {
		i.hash.Write(piece)
	}
	i.mu.Unlock()
	select {
	case i.pieces <- append([]byte(nil), piece...):
	case <-i.drain:
	}
	return nil
}

// end says that all has come.
func (i *input) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.last && !i.failed {
		i.last = true
		close(i.all)
	}
}

// fail says that nothing more will come, and returns whether something was to.
func (i *input) fail() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last || i.failed {
		return false
	}
	i.failed = true
	close(i.all)
	return !i.closed
}

// complete says whether all has come.
func (i *input) complete() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.last
}

// Read hands the input to the module. One that breaks off ends with io.EOF: the
// run is cancelled for it.
func (i *input) Read(p []byte) (int, error) {
	if len(i.rest) == 0 {
		select {
		case i.rest = <-i.pieces:
		case <-i.drain:
			return 0, io.EOF
		case <-i.all:
			return 0, io.EOF
		}
	}
	n := copy(p, i.rest)
	i.rest = i.rest[n:]
	return n, nil
}

// stop lets go of who sends: the module reads no more.
func (i *input) stop() { i.drained.Do(func() { close(i.drain) }) }

// Sum says that the module has ended, waits for the rest that the requester
// still sends, and returns the digest of all of it.
func (i *input) Sum() (sum [sha256.Size]byte) {
	i.stop()
	i.ended()
	select {
	case <-i.all:
	case <-time.After(i.patience):
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.hash.Sum(sum[:0])
	return sum
}
