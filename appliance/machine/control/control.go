// Package control carries the requests of programs to PID 1 for what only it may
// do: jump into a kernel that was loaded, restart, power off, pause services to
// free their memory. One request a connection over a Unix socket, JSON both ways.
// The kernel says who asks (SO_PEERCRED), and what changes the machine needs root.
package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"phase/appliance/base/strictjson"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/exchange"
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
	Disks    = "disks"    // which disks there are to install on, and how an installation stands; root
	Install  = "install"  // write what this node was started from to Disk; root
	Reset    = "reset"    // forget all that is kept, at the next start; root
)

// Request is one question.
type Request struct {
	Do      string `json:"do"`
	Trial   string `json:"trial,omitempty"`   // kexec: digest of the manifest jumped to
	Version uint64 `json:"version,omitzero"`  // kexec: of that release, for people
	Service string `json:"service,omitempty"` // logs: whose; pause: who is spared
	Disk    string `json:"disk,omitempty"`    // install: one of those that disks answers
}

// Response is its answer.
type Response struct {
	OK       bool               `json:"ok"`
	Error    string             `json:"error,omitempty"`
	Code     string             `json:"code,omitempty"` // a refusal.Code, when there is one for Error
	Services []supervise.Status `json:"services,omitempty"`
	Lines    []string           `json:"lines,omitempty"`
	Disks    []flash.Candidate  `json:"disks,omitempty"`
	// Installed is the last installation since the start; nil for none.
	Installed *Installation `json:"installed,omitempty"`
}

// InstallDone is what an Installation is doing when it has ended, well or not.
const InstallDone = "done"

// Installation is how far the writing of a disk is.
type Installation struct {
	Disk string `json:"disk"`
	// Doing is writing, reading back or InstallDone; Failed, when there was an error, that.
	Doing  string `json:"doing"`
	Bytes  int64  `json:"bytes"` // of this part of the work, of Total
	Total  int64  `json:"total"`
	Failed string `json:"failed"`
}

// Handler answers a request. after, when there is one, is called once the answer
// has been sent: it may be a jump, which ends the connection.
type Handler func(r Request) (answer Response, after func())

const (
	maxRequest  = 64 << 10
	maxResponse = 4 << 20
)

// needsRoot lists what only root may ask for. Logs are among it: the lines of a
// node's services are for its owner.
var needsRoot = map[string]bool{Kexec: true, Reboot: true, PowerOff: true, Pause: true, Resume: true, Logs: true, Disks: true, Install: true, Reset: true}

// Listen makes the socket, for everybody to connect to, and removes what an
// earlier process left in its place.
func Listen(path string) (*net.UnixListener, error) {
	l, err := exchange.Listen(path, 0o666)
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	return l, nil
}

// Serve answers until ctx ends or l is closed.
func Serve(ctx context.Context, l *net.UnixListener, handle Handler) error {
	err := exchange.Serve(ctx, l, maxRequest, func(_ context.Context, uid uint32, question []byte, err error) (any, func()) {
		return answer(uid, question, err, handle)
	})
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

func answer(uid uint32, question []byte, err error, handle Handler) (Response, func()) {
	var r Request
	if err == nil {
		r, err = ParseRequest(question)
	}
	if err == nil && needsRoot[r.Do] && uid != 0 {
		err = fmt.Errorf("%s is for root; you are uid %d", r.Do, uid)
	}
	if err != nil {
		return Response{Error: err.Error()}, nil
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
		return Request{}, fmt.Errorf("do must be one of kexec, reboot, poweroff, pause, resume, status, logs, disks, install, reset")
	}
	return r, nil
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
	var answer Response
	err := exchange.Ask(ctx, path, r, &answer, maxResponse)
	if errors.Is(err, fs.ErrNotExist) {
		return Response{}, fmt.Errorf("asking init: %w; is this a node?", err)
	}
	if err != nil {
		return Response{}, fmt.Errorf("asking init to %s: %w", r.Do, err)
	}
	if !answer.OK {
		return answer, fmt.Errorf("init will not %s: %w", r.Do, &Refused{answer.Code, answer.Error})
	}
	return answer, nil
}
