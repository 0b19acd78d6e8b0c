package scheduler

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipes are a task's input and outputs: the worker's ends, and who copies at
// this end.
type pipes struct {
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

// inPipe is how much every pipe holds, however many there are (pipe(7)).
const inPipe = 4096

// openPipes makes what the worker is given. On an error nothing stays open.
func openPipes(t Task) (_ *pipes, err error) {
	s := &pipes{output: newMeter(t.OutputBytes)}
	defer func() {
		if err != nil {
			s.abandon()
			err = fmt.Errorf("opening the job's streams: %w", err)
		}
	}()
	switch in := t.Stdin.(type) {
	case *os.File:
		s.worker[0] = in
	case nil:
		if s.worker[0], err = os.Open(os.DevNull); err != nil {
			return nil, err
		}
		s.close = append(s.close, s.worker[0])
	default:
		if s.worker[0], s.stdin, err = os.Pipe(); err != nil {
			return nil, err
		}
		s.close = append(s.close, s.worker[0])
	}
	for i, to := range []io.Writer{t.Stdout, t.Stderr} {
		if f, ok := to.(*os.File); ok && t.OutputBytes == 0 {
			s.worker[1+i] = f
			continue
		}
		ours, theirs, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		s.worker[1+i] = theirs
		s.close = append(s.close, theirs)
		s.copies = append(s.copies, copying{ours, to})
	}
	return s, nil
}

// begin copies. The worker's ends stay open here until they are sent.
func (s *pipes) begin(stdin io.Reader) {
	for _, c := range s.copies {
		s.wait.Go(func() {
			defer c.from.Close()
			buffer := buffers.Get().(*[]byte)
			defer buffers.Put(buffer)
			// When whoever reads the output has gone, closing our end tells
			// the module, as it would without us.
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
	// Nobody waits for this one: the reader may be blocked for ever.
	go func() {
		defer s.stdin.Close()
		_, _ = io.Copy(s.stdin, stdin) // what the module does not read is lost
	}()
}

// cut has what the outputs hold passed on, and no more waited for. The end of
// a pipe comes only when the kernel has taken down all of a killed worker.
func (s *pipes) cut() {
	for _, c := range s.copies {
		_ = c.from.SetReadDeadline(time.Unix(1, 0)) // fails only when it has ended
	}
}

// rest reads what a pipe holds, without waiting.
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

// onlyReader hides a file's own way to copy, which makes buffers anew.
type onlyReader struct{ io.Reader }

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// sent closes the worker's ends here, so that the pipes end when it is done.
func (s *pipes) sent() {
	for _, f := range s.close {
		f.Close()
	}
	s.close = nil
}

// abandon closes everything of pipes that were never begun.
func (s *pipes) abandon() {
	s.sent()
	if s.stdin != nil {
		s.stdin.Close()
	}
	for _, c := range s.copies {
		c.from.Close()
	}
}

// copied is closed when all output has been passed on.
func (s *pipes) copied() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		s.wait.Wait()
		close(done)
	}()
	return done
}
