// Package control carries the requests of programs to PID 1 for what only it may
// do: jump into a kernel that was loaded, restart, power off, pause services to
// free their memory. One request a connection over a Unix socket, JSON both ways.
// The kernel says who asks (SO_PEERCRED), and what changes the machine needs root.
package control

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
	"phase/appliance/machine/supervise"
)

// Socket is where init listens.
const Socket = "/run/phase/init.sock"

// What may be asked for.
const (
	Kexec    = "kexec"    // jump into the kernel that was loaded; root
	Reboot   = "reboot"   // restart through the firmware; root
	PowerOff = "poweroff" // root
	Pause    = "pause"    // stop every service but Service; root
	Resume   = "resume"   // start them again; root
	Status   = "status"   // what the services do
	Logs     = "logs"     // the last lines of Service; root
)

// Request is one question.
type Request struct {
	Do      string `json:"do"`
	Trial   string `json:"trial,omitempty"`   // kexec: digest of the manifest jumped to
	Service string `json:"service,omitempty"` // logs: whose; pause: who is spared
}

// Response is its answer.
type Response struct {
	OK       bool               `json:"ok"`
	Error    string             `json:"error,omitempty"`
	Code     string             `json:"code,omitempty"` // a refusal.Code, when there is one for Error
	Services []supervise.Status `json:"services,omitempty"`
	Lines    []string           `json:"lines,omitempty"`
}

// Handler answers a request. after, when there is one, is called once the answer
// has been sent: it may be a jump, which ends the connection.
type Handler func(r Request) (answer Response, after func())

const (
	maxRequest  = 64 << 10
	maxResponse = 4 << 20
	timeout     = 10 * time.Second
	maxWaiting  = 16 // connections at once; a flood waits in the kernel's queue
)

// needsRoot lists what only root may ask for. Logs are among it: the lines of a
// node's services are for its owner.
var needsRoot = map[string]bool{Kexec: true, Reboot: true, PowerOff: true, Pause: true, Resume: true, Logs: true}

// Listen makes the socket, for everybody to connect to, and removes what an
// earlier process left in its place.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	return l, nil
}

// Serve answers until ctx ends or l is closed.
func Serve(ctx context.Context, l *net.UnixListener, handle Handler) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots := make(chan struct{}, maxWaiting)
	for {
		slots <- struct{}{}
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("control socket: %w", err)
		}
		go func() {
			defer func() { <-slots }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(timeout)) // only a closed connection has none
			answer, after := answer(conn, handle)
			if err := send(conn, answer); err != nil {
				slog.Warn("answering on the control socket", "error", err)
			}
			if after != nil {
				after()
			}
		}()
	}
}

func answer(conn *net.UnixConn, handle Handler) (Response, func()) {
	refuse := func(format string, args ...any) (Response, func()) {
		return Response{Error: fmt.Sprintf(format, args...)}, nil
	}
	raw, err := conn.SyscallConn()
	var uid uint32
	if err == nil {
		uid, err = linux.PeerUID(raw)
	}
	if err != nil {
		return refuse("who asks is not known: %v", err)
	}
	data, err := io.ReadAll(io.LimitReader(conn, maxRequest+1))
	if err != nil {
		return refuse("reading the request: %v", err)
	}
	r, err := ParseRequest(data)
	if err != nil {
		return refuse("%v", err)
	}
	if needsRoot[r.Do] && uid != 0 {
		return refuse("%s is for root; you are uid %d", r.Do, uid)
	}
	return handle(r)
}

// ParseRequest reads a request: at most 64 KiB of strict JSON that asks for
// something there is.
func ParseRequest(data []byte) (Request, error) {
	if len(data) > maxRequest {
		return Request{}, fmt.Errorf("a request is at most %d KiB", maxRequest>>10)
	}
	var r Request
	if err := strictjson.Unmarshal(data, &r, strictjson.RejectUnknown); err != nil {
		return Request{}, fmt.Errorf("reading the request: %w", err)
	}
	if !needsRoot[r.Do] && r.Do != Status {
		return Request{}, fmt.Errorf("do must be one of kexec, reboot, poweroff, pause, resume, status, logs")
	}
	return r, nil
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

// Refused is the error of a request that was understood and not done.
type Refused struct {
	Code   string // a refusal.Code or empty
	Detail string
}

func (r *Refused) Error() string { return r.Detail }

// Do asks the init that listens at path. A machine whose init is not ours has
// no such socket; the error says so and wraps fs.ErrNotExist.
func Do(ctx context.Context, path string, r Request) (Response, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) {
		return Response{}, fmt.Errorf("asking init: %w; is this a node?", err)
	}
	if err != nil {
		return Response{}, fmt.Errorf("asking init: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var data []byte
	if err = send(conn.(*net.UnixConn), r); err == nil {
		data, err = io.ReadAll(io.LimitReader(conn, maxResponse+1))
	}
	if err != nil {
		return Response{}, fmt.Errorf("asking init to %s: %w", r.Do, err)
	}
	var answer Response
	if err := strictjson.Unmarshal(data, &answer, strictjson.Limit(maxResponse)); err != nil {
		return Response{}, fmt.Errorf("asking init to %s: reading the answer: %w", r.Do, err)
	}
	if !answer.OK {
		return answer, fmt.Errorf("init will not %s: %w", r.Do, &Refused{answer.Code, answer.Error})
	}
	return answer, nil
}
