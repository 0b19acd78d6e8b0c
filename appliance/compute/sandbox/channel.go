package sandbox

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Channel is one end of the connection between a node and its worker. It
// carries messages of bytes and open files (SCM_RIGHTS), in order. On the wire
// a message is its length as a big-endian uint32, which the files accompany,
// and its bytes. It is made without package net, which every worker would link.
type Channel struct {
	socket *os.File
	raw    syscall.RawConn // of the socket
	send   sync.Mutex      // one message at a time
}

// NewChannel returns this process's end of a new channel, and the file to give
// to the worker, which calls OpenChannel on it.
func NewChannel() (*Channel, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a channel to a worker: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "channel")
	ours, err := OpenChannel(os.NewFile(uintptr(fds[0]), "channel"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// OpenChannel makes a channel of a file, which it closes.
func OpenChannel(file *os.File) (*Channel, error) {
	defer file.Close()
	fail := func(err error) (*Channel, error) { return nil, fmt.Errorf("opening the channel: %w", err) }
	kind, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return fail(err)
	}
	if kind != unix.AF_UNIX {
		return fail(errors.New("it is no Unix socket"))
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	// So that closing it ends what waits for it.
	if err := unix.SetNonblock(fd, true); err != nil {
		return fail(errors.Join(err, unix.Close(fd)))
	}
	socket := os.NewFile(uintptr(fd), "channel")
	raw, err := socket.SyscallConn()
	if err != nil {
		return fail(errors.Join(err, socket.Close()))
	}
	return &Channel{socket: socket, raw: raw}, nil
}

// MaxFiles is how many files one message may carry (SCM_MAX_FD is 253).
const MaxFiles = 250

// Send sends a message. The files stay the caller's.
func (c *Channel) Send(body []byte, files ...*os.File) error {
	if len(files) > MaxFiles {
		return fmt.Errorf("sending over the channel: %d files, at most %d are allowed", len(files), MaxFiles)
	}
	c.send.Lock()
	defer c.send.Unlock()
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	message := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	// The files leave with the first byte; a long message takes more calls.
	n, err := c.begin(message, rights)
	if err == nil {
		_, err = c.socket.Write(message[n:])
	}
	if err != nil {
		return fmt.Errorf("sending over the channel: %w", err)
	}
	return nil
}

// begin sends the files and the first n bytes of a message, at least one.
func (c *Channel) begin(message, rights []byte) (n int, err error) {
	waited := c.raw.Write(func(fd uintptr) bool {
		err = again(func() (err error) {
			n, err = unix.SendmsgN(int(fd), message, rights, nil, unix.MSG_NOSIGNAL)
			return err
		})
		return !errors.Is(err, unix.EAGAIN)
	})
	return n, cmp.Or(waited, err)
}

// again makes a system call until no signal interrupts it.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Receive returns the next message, of at most limit bytes and at most files
// files, which become the caller's; io.EOF when the other end has gone. A
// message that holds more is an error, and its files are closed.
func (c *Channel) Receive(limit uint32, files int) (body []byte, got []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range got {
				f.Close()
			}
			got = nil
		}
	}()
	var header [4]byte
	rights := make([]byte, unix.CmsgSpace(4*MaxFiles))
	var n, rn, flags int
	waited := c.raw.Read(func(fd uintptr) bool {
		err = again(func() (err error) {
			n, rn, flags, _, err = unix.Recvmsg(int(fd), header[:], rights, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		return !errors.Is(err, unix.EAGAIN)
	})
	if err = cmp.Or(waited, err); err == nil && n == 0 {
		return nil, nil, io.EOF
	}
	if err != nil {
		return nil, nil, fmt.Errorf("receiving over the channel: %w", err)
	}
	if got, err = received(rights[:rn]); err != nil {
		return nil, got, fmt.Errorf("receiving over the channel: %w", err)
	}
	if flags&unix.MSG_CTRUNC != 0 || len(got) > files {
		return nil, got, fmt.Errorf("receiving over the channel: a message with more than %d files", files)
	}
	if _, err := io.ReadFull(c.socket, header[n:]); err != nil {
		return nil, got, fmt.Errorf("receiving over the channel: %w", err)
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > limit {
		return nil, got, fmt.Errorf("receiving over the channel: a message of %d bytes, at most %d are allowed", size, limit)
	}
	body = make([]byte, size)
	if _, err := io.ReadFull(c.socket, body); err != nil {
		return nil, got, fmt.Errorf("receiving over the channel: %w", err)
	}
	return body, got, nil
}

// received takes the files out of a message's control data.
func received(rights []byte) ([]*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return slices.Clip(files), nil
}

// Close closes this end; the other receives io.EOF.
func (c *Channel) Close() error { return c.socket.Close() }
