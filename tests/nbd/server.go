package nbd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Server lets clients use a disk over a Unix socket.
type Server struct {
	disk     *Disk
	dir      string
	listener net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	work   sync.WaitGroup
}

// Serve begins to serve a disk, until Close.
func Serve(d *Disk) (*Server, error) {
	// A folder of its own: the path of a Unix socket must be short.
	dir, err := os.MkdirTemp("", "phase-nbd-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the disk's socket: %w", err)
	}
	s := &Server{disk: d, dir: dir, conns: map[net.Conn]bool{}}
	if s.listener, err = net.Listen("unix", filepath.Join(dir, "disk")); err != nil {
		return nil, errors.Join(fmt.Errorf("serving a disk: %w", err), os.RemoveAll(dir))
	}
	s.work.Go(s.accept)
	return s, nil
}

// Socket is the path of the socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "disk") }

// URI is what qemu-img and its like call the disk.
func (s *Server) URI() string { return "nbd+unix:///?socket=" + s.Socket() }

// Close ends all connections.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.work.Wait()
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.closed {
			c.Close()
		} else {
			s.conns[c] = true
			s.work.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

func (s *Server) serve(c net.Conn) {
	s.disk.mu.Lock()
	power, on, gone := s.disk.power, s.disk.on, s.disk.gone
	s.disk.mu.Unlock()
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-gone:
			c.Close()
		case <-done:
		}
	}()
	if on { // there is nobody to speak to while the power is off
		x := &session{disk: s.disk, power: power, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}
		if x.handshake() == nil {
			// A client that breaks the protocol loses its connection, and says so itself.
			_ = x.requests()
		}
	}
	close(done)
	<-watched
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}
