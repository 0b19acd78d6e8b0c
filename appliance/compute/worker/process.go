// Package worker is the process that runs a module, seen from the node: how it is
// started, given orders over a socket, limited and killed. What runs in it is
// package inside. A job comes here from the scheduler and goes on to package
// wasm, within the walls of package sandbox; nothing that the process answers is
// believed beyond its own run.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"phase/appliance/base/ui"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/worker/protocol"
)

// Command is the first argument that makes plasmd a worker: its whole life is
// inside.Main then.
const Command = "worker"

// Folder gives the module the directory Host under the name Guest.
type Folder struct {
	Host, Guest string
	ReadOnly    bool
}

// Process is a worker process and this side of its channel.
type Process struct {
	cmd     *exec.Cmd
	channel *sandbox.Channel
	group   *sandbox.Cgroup
	walls   []string
	folders bool // it was given some

	ended     chan struct{} // closed at its end, when the next three are set
	exit      error
	diagnosis string
	overGroup bool // the kernel killed it because its control group was over its limit
}

// maxDiagnosis is how many bytes of a worker's standard error are kept.
const maxDiagnosis = 64 << 10

// Start starts a worker and has it build its walls, around these folders too.
// Groups, where they are not nil, limit its memory. Ending ctx kills it while
// it builds them.
func Start(ctx context.Context, groups *sandbox.Cgroups, folders []Folder) (_ *Process, err error) {
	o := protocol.Order{Do: protocol.Enter}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, f := range folders {
		dir, err := os.OpenFile(f.Host, os.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			return nil, fmt.Errorf("opening a folder for the module: %w", err)
		}
		files = append(files, dir)
		o.Folders = append(o.Folders, protocol.Folder{Guest: []byte(f.Guest), ReadOnly: f.ReadOnly})
	}
	p, err := launch(groups)
	if err != nil {
		return nil, err
	}
	p.folders = len(folders) > 0
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	r, _, err := p.ask(o, files, false)
	if err == nil && r.Failed != "" {
		err = errors.New(ui.Clean(r.Failed))
	}
	if err != nil {
		p.End()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("starting a worker: %w%s", err, p.complaint())
	}
	p.walls = r.Walls
	if p.group != nil {
		p.walls = append(p.walls, "cgroup memory")
	}
	return p, nil
}

// launch starts the process.
func launch(groups *sandbox.Cgroups) (_ *Process, err error) {
	group, err := groups.New(charge(0, 0))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, group.Remove())
		}
	}()
	channel, theirs, err := sandbox.NewChannel()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	words, diagnosis, err := os.Pipe()
	if err != nil {
		channel.Close()
		return nil, fmt.Errorf("opening a worker's pipe: %w", err)
	}
	defer diagnosis.Close()
	program := chosen()
	p := &Process{
		cmd:     &exec.Cmd{Path: program.path, Args: program.args, Stderr: diagnosis, ExtraFiles: []*os.File{theirs}},
		channel: channel, group: group, ended: make(chan struct{}),
	}
	exit, err := sandbox.Start(p.cmd, group)
	if err != nil {
		channel.Close()
		words.Close()
		return nil, err
	}
	go func() {
		kept := drain(words, maxDiagnosis)
		p.exit, p.diagnosis = <-exit, string(kept)
		p.overGroup = group.Killed()
		if err := group.Remove(); err != nil {
			slog.Warn("removing a worker's control group", "error", err)
		}
		close(p.ended)
	}()
	return p, nil
}

// drain reads a pipe to its end and keeps the first limit bytes.
func drain(f *os.File, limit int64) []byte {
	defer f.Close()
	kept, _ := io.ReadAll(io.LimitReader(f, limit))
	_, _ = io.Copy(io.Discard, f)
	return kept
}

// ask gives an order and waits for its report, with the code where it compiles.
// It returns when the worker is killed.
func (p *Process) ask(o protocol.Order, files []*os.File, code bool) (protocol.Report, *sandbox.Sealed, error) {
	text, err := o.Encode()
	if err != nil {
		return protocol.Report{}, nil, err
	}
	if err := p.channel.Send(text, files...); err != nil {
		return protocol.Report{}, nil, err
	}
	return receive(p.channel, code)
}

// receive reads a worker's report, and the code that comes with it if wanted;
// io.EOF when the worker has ended.
func receive(c *sandbox.Channel, code bool) (protocol.Report, *sandbox.Sealed, error) {
	want := 0
	if code {
		want = 1
	}
	text, files, err := c.Receive(protocol.MaxReport, want)
	if err != nil {
		return protocol.Report{}, nil, err
	}
	r, err := protocol.DecodeReport(text)
	if err != nil || len(files) == 0 {
		for _, f := range files {
			f.Close()
		}
		return r, nil, err
	}
	s, err := sandbox.SealFile(files[0])
	if err == nil && s.Size() > maxCode {
		s.Close()
		err = io.ErrShortBuffer
	}
	if err != nil {
		return protocol.Report{}, nil, fmt.Errorf("reading the worker's code: %w", err)
	}
	return r, s, nil
}

// Walls returns the names of the walls around it (see sandbox.Enter).
func (p *Process) Walls() []string { return slices.Clone(p.walls) }

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// kill ends it at once; it does not wait.
func (p *Process) kill() { _ = p.cmd.Process.Kill() } // fails only when it has ended

// cut kills it without waiting and closes the channel: from now on it runs
// nothing, but the kernel may take a while to give its memory back.
func (p *Process) cut() {
	p.kill()
	p.channel.Close()
}

// End kills it and waits until nothing of it is left.
func (p *Process) End() {
	p.cut()
	<-p.ended
}

// Alive is false once the process has ended.
func (p *Process) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// complaint is the first line that a process which has ended wrote to its
// standard error, to stand behind another message.
func (p *Process) complaint() string {
	first, _, _ := strings.Cut(p.diagnosis, "\n")
	if first == "" {
		return ""
	}
	return ": " + ui.Clean(first)
}

// outOfMemory reports whether a process that has ended died for want of memory:
// by what the Go runtime prints then, or by a fault in its garbage collector,
// which runs in a job only when memory is short (see package inside) and does not
// check the memory it gets for its own queues (newSpanSPMC of Go 1.26).
func (p *Process) outOfMemory() bool {
	for _, words := range []string{"out of memory", "cannot allocate memory", "errno=12", "runtime.(*spanQueue)", "pthread_create failed"} {
		if strings.Contains(p.diagnosis, words) {
			return true
		}
	}
	return false
}

// killed reports whether a process that has ended was killed by SIGKILL.
func (p *Process) killed() bool {
	var e *exec.ExitError
	if !errors.As(p.exit, &e) {
		return false
	}
	status, ok := e.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
