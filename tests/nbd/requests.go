package nbd

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// requests carries out what the client asks for, one after the other, until it
// disconnects. A flush so covers every write that came before it, answered or
// not: more than the protocol demands.
func (s *session) requests() error {
	for {
		r, cookie, err := s.request()
		if err != nil {
			return err
		}
		if r.command == cmdDisconnect {
			return nil
		}
		data, err := s.disk.do(s.power, r)
		if errors.Is(err, errFrozen) {
			// No answer. The client waits, until it dies.
			_, _ = io.Copy(io.Discard, s.r) // its end is all there is to know
			return errFrozen
		}
		if err := s.answer(cookie, data, err); err != nil {
			return err
		}
	}
}

// request reads one request.
func (s *session) request() (r request, cookie uint64, err error) {
	var head [requestBytes]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return r, 0, fmt.Errorf("reading a request: %w", err)
	}
	if magic := be.Uint32(head[:]); magic != magicRequest {
		return r, 0, fmt.Errorf("a request begins with %#x", magic)
	}
	cookie = be.Uint64(head[8:])
	length := be.Uint32(head[24:])
	r = request{
		command: be.Uint16(head[6:]),
		fua:     be.Uint16(head[4:])&commandFUA != 0,
		offset:  int64(be.Uint64(head[16:])), // a negative one is refused by the disk
		length:  int64(length),
	}
	if r.command == cmdFlush {
		r.offset, r.length = 0, 0 // must be zero, and mean nothing
	}
	if length > maxPayload && r.command != cmdTrim {
		return r, 0, fmt.Errorf("a request of %d bytes, at most %d", length, maxPayload)
	}
	if r.command == cmdWrite {
		r.data = make([]byte, length)
		if _, err := io.ReadFull(s.r, r.data); err != nil {
			return r, 0, fmt.Errorf("reading what is to be written: %w", err)
		}
	}
	return r, cookie, nil
}

// answer sends a simple reply.
func (s *session) answer(cookie uint64, data []byte, err error) error {
	code := uint32(0)
	if err != nil {
		code, data = uint32(syscall.EIO), nil
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			code = uint32(errno)
		}
	}
	b := be.AppendUint32(nil, magicSimpleReply)
	b = be.AppendUint32(b, code)
	b = be.AppendUint64(b, cookie)
	if _, err := s.w.Write(b); err != nil {
		return fmt.Errorf("writing to the client: %w", err)
	}
	return s.send(data)
}
