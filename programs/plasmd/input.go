package plasmd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"

	"phase/appliance/daemon/api"
)

// incoming is standard input on its way into a job. What is there at once is
// known before the job begins, and the job names it; what is still coming then,
// and may never end, goes in while the job runs, and ends when that does.
type incoming struct {
	from   io.Reader
	pieces chan piece
	closed chan struct{} // by Sum
	broken func()

	mu    sync.Mutex
	ready []byte // was read, and not yet handed on
	end   error  // why nothing follows what is ready
	hash  hash.Hash
	over  bool
}

type piece struct {
	bytes []byte
	err   error
}

// pieceBytes is how much is read at once.
const pieceBytes = 64 << 10

// How long a job waits for its input: no longer than it pauses or than this in
// all. A file has no pauses.
const (
	inputPause = 50 * time.Millisecond
	inputTime  = time.Second
)

// newIncoming begins to read. Broken is called when it cannot go on.
func newIncoming(from io.Reader, broken func()) *incoming {
	in := &incoming{from: from, pieces: make(chan piece), closed: make(chan struct{}), broken: broken, hash: sha256.New()}
	go func() {
		for {
			buffer := make([]byte, pieceBytes)
			n, err := from.Read(buffer) // which may take for ever
			select {
			case in.pieces <- piece{buffer[:n], err}:
			case <-in.closed:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return in
}

// ahead reads what is there at once, up to what a job may name; with wait, what
// is still to come too. It returns all of the input, or nil if there is more.
func (in *incoming) ahead(ctx context.Context, wait bool) (all []byte, err error) {
	var pause *time.Timer
	var paused, tooLong <-chan time.Time
	if !wait && !isFile(in.from) {
		pause = time.NewTimer(inputPause)
		paused, tooLong = pause.C, time.After(inputTime)
	}
	for in.end == nil && len(in.ready) <= api.MaxStdin {
		if pause != nil {
			pause.Reset(inputPause)
		}
		select {
		case p := <-in.pieces:
			in.ready, in.end = append(in.ready, p.bytes...), p.err
		case <-paused:
			return nil, nil
		case <-tooLong:
			return nil, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("reading standard input: %w", context.Cause(ctx))
		}
	}
	switch {
	case len(in.ready) > api.MaxStdin:
		return nil, nil
	case in.end != io.EOF:
		return nil, in.stop()
	}
	if in.ready == nil {
		in.ready = []byte{}
	}
	return in.ready, nil
}

// isFile reports whether an input is there as a whole.
func isFile(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// Read hands the input on, until Sum ends it.
func (in *incoming) Read(p []byte) (int, error) {
	for {
		if n, err := in.take(p); n > 0 || err != nil {
			return n, err
		}
		select {
		case got := <-in.pieces:
			in.mu.Lock()
			in.ready, in.end = got.bytes, got.err
			in.mu.Unlock()
		case <-in.closed:
		}
	}
}

// take hands on what is ready.
func (in *incoming) take(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.over {
		return 0, io.EOF
	}
	n := copy(p, in.ready)
	in.ready = in.ready[n:]
	in.hash.Write(p[:n])
	if n > 0 || in.end == nil {
		return n, nil
	}
	if in.end != io.EOF {
		in.broken()
	}
	return 0, in.end
}

// Sum ends the input and returns the SHA-256 of what was handed on of it.
func (in *incoming) Sum() (sum [sha256.Size]byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.over {
		in.over = true
		close(in.closed)
	}
	in.hash.Sum(sum[:0])
	return sum
}

// stop ends the input and returns why it could not be read, nil if it could.
func (in *incoming) stop() error {
	in.Sum()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.end == nil || in.end == io.EOF {
		return nil
	}
	return fmt.Errorf("reading standard input: %w", in.end)
}
