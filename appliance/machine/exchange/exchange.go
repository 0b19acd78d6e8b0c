// Package exchange carries one question and its answer, JSON both ways, over a
// Unix socket between programs of one machine. The kernel says who asks.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/machine/linux"
)

const (
	timeout    = 10 * time.Second // to send a question, and to take an answer
	maxWaiting = 16               // connections at once; a flood waits in the kernel's queue
)

// Listen makes the socket with a mode, and removes what an earlier process left
// in its place. Where the mode is not for everybody, the folder must keep others
// out: for a moment the socket has the mode that the umask gives it.
func Listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Handler answers a question of the user uid. A question that was too long, or
// cannot be read, is err. after, when there is one, is called once the answer has
// been sent.
type Handler func(ctx context.Context, uid uint32, question []byte, err error) (answer any, after func())

// Serve answers until ctx ends or l is closed. A question has at most most bytes.
func Serve(ctx context.Context, l *net.UnixListener, most int, handle Handler) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots := make(chan struct{}, maxWaiting)
	for {
		slots <- struct{}{}
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		go func() {
			defer func() { <-slots }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(timeout)) // only a closed connection has none
			uid, question, err := receive(conn, most)
			answer, after := handle(ctx, uid, question, err)
			_ = conn.SetDeadline(time.Now().Add(timeout))
			if err := send(conn, answer); err != nil {
				slog.Warn("answering on a socket", "socket", l.Addr(), "error", err)
			}
			if after != nil {
				after()
			}
		}()
	}
}

func receive(conn *net.UnixConn, most int) (uid uint32, question []byte, err error) {
	raw, err := conn.SyscallConn()
	if err == nil {
		uid, err = linux.PeerUID(raw)
	}
	if err != nil {
		return uid, nil, fmt.Errorf("who asks is not known: %w", err)
	}
	if question, err = io.ReadAll(io.LimitReader(conn, int64(most)+1)); err != nil {
		return uid, nil, fmt.Errorf("reading the request: %w", err)
	}
	if len(question) > most {
		return uid, nil, fmt.Errorf("a request is at most %d KiB", most>>10)
	}
	return uid, question, nil
}

// send writes v and says that nothing follows, so that the other side has it
// whole whatever becomes of this one.
func send(conn *net.UnixConn, v any) error {
	data, err := strictjson.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := conn.Write(data); err != nil {
		return err
	}
	return conn.CloseWrite()
}

// Ask sends a question to the program that listens at path and decodes its answer,
// of at most most bytes. A socket that is not there is fs.ErrNotExist.
func Ask(ctx context.Context, path string, question, answer any, most int) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := send(conn.(*net.UnixConn), question); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(conn, int64(most)+1))
	if err != nil {
		return err
	}
	if err := strictjson.Unmarshal(data, answer, strictjson.Limit(most)); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}
