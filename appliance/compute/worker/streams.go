package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Streams are a run's input and outputs: pipes to the worker, and what copies
// at this end. They outlive a worker that could not begin (ErrStale), so that
// the next one gets all of the input.
type Streams struct {
	worker [3]*os.File // stdin, stdout, stderr
	close  []*os.File  // of those, the ones made here
	stdin  *os.File    // nil where nothing is copied
	output *meter
	copies []copying
	wait   sync.WaitGroup
}

type copying struct {
	from *os.File
	to   io.Writer
}

// inPipe is how many bytes every pipe holds, however many there are (pipe(7)).
const inPipe = 4096

// OpenStreams makes the streams of a run and begins to copy; close them after
// it. A nil stdin is empty. An *os.File is handed to the worker as it is;
// everything else is copied, and where limit, in bytes of both outputs together,
// is not 0, outputs are always copied. A stdin that blocks may still be read
// once when the run has ended.
func OpenStreams(stdin io.Reader, stdout, stderr io.Writer, limit int64) (*Streams, error) {
	s := &Streams{output: newMeter(limit)}
	if err := s.open(stdin, stdout, stderr); err != nil {
		s.abandon()
		return nil, fmt.Errorf("opening the job's streams: %w", err)
	}
	s.begin(stdin)
	return s, nil
}

func (s *Streams) open(stdin io.Reader, stdout, stderr io.Writer) (err error) {
	switch in := stdin.(type) {
	case *os.File:
		s.worker[0] = in
	case nil:
		if s.worker[0], err = os.Open(os.DevNull); err != nil {
			return err
		}
		s.close = append(s.close, s.worker[0])
	default:
		if s.worker[0], s.stdin, err = os.Pipe(); err != nil {
			return err
		}
		s.close = append(s.close, s.worker[0])
	}
	for i, to := range []io.Writer{stdout, stderr} {
		if f, ok := to.(*os.File); ok && !s.output.limited {
			s.worker[1+i] = f
			continue
		}
		ours, theirs, err := os.Pipe()
		if err != nil {
			return err
		}
		s.worker[1+i] = theirs
		s.close = append(s.close, theirs)
		s.copies = append(s.copies, copying{ours, to})
	}
	return nil
}

// begin copies. The worker's ends stay open here until Close.
func (s *Streams) begin(stdin io.Reader) {
	for _, c := range s.copies {
		s.wait.Go(func() {
			defer c.from.Close()
			buffer := buffers.Get().(*[]byte)
			defer buffers.Put(buffer)
			// When the reader of the output has gone, closing our end tells the
			// module.
			to := s.output.writer(c.to)
			_, err := io.CopyBuffer(to, onlyReader{c.from}, *buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				_, _ = io.CopyBuffer(to, rest{c.from}, *buffer)
			}
		})
	}
	if s.stdin == nil {
		return
	}
	if known, ok := stdin.(interface{ Len() int }); ok && known.Len() <= inPipe {
		_, _ = io.Copy(s.stdin, stdin) // cannot block
		s.stdin.Close()
		return
	}
	// Not waited for: the reader may be blocked for ever.
	go func() {
		defer s.stdin.Close()
		_, _ = io.Copy(s.stdin, stdin) // what the module does not read is lost
	}()
}

// cut passes on what the pipes of the outputs hold and waits for no more. The
// end of a pipe comes only when the kernel has taken down all of a killed worker.
func (s *Streams) cut() {
	for _, c := range s.copies {
		_ = c.from.SetReadDeadline(time.Unix(1, 0)) // fails only when it has ended
	}
}

// rest reads what a pipe still holds, without waiting.
type rest struct{ pipe *os.File }

func (r rest) Read(p []byte) (n int, err error) {
	// A deadline that is over would keep even this from reading.
	if err := r.pipe.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	raw, err := r.pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), p)
		return true
	}); e != nil {
		return 0, e
	}
	if n <= 0 { // nothing now, or the end
		return 0, io.EOF
	}
	return n, nil
}

// onlyReader hides a file's own way to copy, which allocates a buffer each time.
type onlyReader struct{ io.Reader }

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// Close closes the worker's ends in this process, so that the pipes end when
// the worker does.
func (s *Streams) Close() {
	for _, f := range s.close {
		f.Close()
	}
	s.close = nil
}

// abandon closes all of streams that were never begun.
func (s *Streams) abandon() {
	s.Close()
	if s.stdin != nil {
		s.stdin.Close()
	}
	for _, c := range s.copies {
		c.from.Close()
	}
}

// copied is closed when all output has been passed on.
func (s *Streams) copied() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		s.wait.Wait()
		close(done)
	}()
	return done
}
