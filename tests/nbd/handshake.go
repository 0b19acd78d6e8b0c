package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var be = binary.BigEndian

// session is one connection of a client.
type session struct {
	disk  *Disk
	power int // the disk's power-on that it belongs to
	r     *bufio.Reader
	w     *bufio.Writer

	noZeroes bool // the client wants no zeros after the answer to an export name
}

// errAbort is a client that says good-bye in the handshake.
var errAbort = errors.New("the client has ended the handshake")

// handshake returns once the client has chosen the export. There is one, and
// every name means it.
func (s *session) handshake() error {
	var hello []byte
	hello = be.AppendUint64(hello, magicServer)
	hello = be.AppendUint64(hello, magicOption)
	hello = be.AppendUint16(hello, flagFixedNewstyle|flagNoZeroes)
	if err := s.send(hello); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(s.r, flags[:]); err != nil {
		return fmt.Errorf("reading the client's flags: %w", err)
	}
	f := be.Uint32(flags[:])
	if f&flagFixedNewstyle == 0 || f&^(flagFixedNewstyle|flagNoZeroes) != 0 {
		return fmt.Errorf("the client's flags are %#x: it must speak the fixed newstyle handshake, and nothing newer", f)
	}
	s.noZeroes = f&flagNoZeroes != 0
	for {
		chosen, err := s.option()
		if chosen || err != nil {
			return err
		}
	}
}

// option answers one option. chosen says that requests follow.
func (s *session) option() (chosen bool, err error) {
	var head [16]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return false, fmt.Errorf("reading an option: %w", err)
	}
	magic, option, length := be.Uint64(head[:]), be.Uint32(head[8:]), be.Uint32(head[12:])
	if magic != magicOption {
		return false, fmt.Errorf("an option begins with %#x", magic)
	}
	if length > maxOption {
		if _, err := io.CopyN(io.Discard, s.r, int64(length)); err != nil {
			return false, fmt.Errorf("reading an option of %d bytes: %w", length, err)
		}
		return false, s.reply(option, repErrTooBig, nil)
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(s.r, data); err != nil {
		return false, fmt.Errorf("reading an option: %w", err)
	}
	switch option {
	case optExportName:
		return true, s.exportName()
	case optAbort:
		_ = s.reply(option, repAck, nil) // it may have gone already
		return false, errAbort
	case optList:
		if length != 0 {
			return false, s.reply(option, repErrInvalid, nil)
		}
		// One export, with an empty name.
		return false, errors.Join(s.reply(option, repServer, make([]byte, 4)), s.reply(option, repAck, nil))
	case optInfo, optGo:
		if !validInfo(data) {
			return false, s.reply(option, repErrInvalid, nil)
		}
		return option == optGo, s.info(option)
	}
	return false, s.reply(option, repErrUnsupported, nil)
}

// validInfo checks the data of an info or go option: a name, and a list of what
// the client would like to know, which may be answered by more or less.
func validInfo(data []byte) bool {
	if len(data) < 6 {
		return false
	}
	name := uint64(be.Uint32(data))
	if name > uint64(len(data)-6) {
		return false
	}
	rest := data[4+name:]
	return len(rest) == 2+2*int(be.Uint16(rest))
}

// info answers an info or go option.
func (s *session) info(option uint32) error {
	export := be.AppendUint16(nil, infoExport)
	export = append(export, s.export()...)
	sizes := be.AppendUint16(nil, infoBlockSize)
	for _, n := range []uint32{Sector, blockSize, maxPayload} { // at least, best, at most
		sizes = be.AppendUint32(sizes, n)
	}
	return errors.Join(s.reply(option, repInfo, export), s.reply(option, repInfo, sizes), s.reply(option, repAck, nil))
}

// exportName answers the option of older clients, which has an answer of its own.
func (s *session) exportName() error {
	answer := s.export()
	if !s.noZeroes {
		answer = append(answer, make([]byte, 124)...)
	}
	return s.send(answer)
}

// export is the size of the disk and what it can do.
func (s *session) export() []byte {
	flags := uint16(exportHasFlags | exportSendFlush | exportSendFUA | exportSendTrim)
	s.disk.mu.Lock()
	if s.disk.readOnly {
		flags |= exportReadOnly
	}
	s.disk.mu.Unlock()
	return be.AppendUint16(be.AppendUint64(nil, uint64(s.disk.size)), flags)
}

func (s *session) reply(option, kind uint32, data []byte) error {
	b := be.AppendUint64(nil, magicReply)
	b = be.AppendUint32(b, option)
	b = be.AppendUint32(b, kind)
	b = be.AppendUint32(b, uint32(len(data)))
	return s.send(append(b, data...))
}

func (s *session) send(b []byte) error {
	if _, err := s.w.Write(b); err != nil {
		return fmt.Errorf("writing to the client: %w", err)
	}
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("writing to the client: %w", err)
	}
	return nil
}
