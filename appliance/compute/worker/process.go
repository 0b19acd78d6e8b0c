package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"phase/appliance/base/ui"
	"phase/appliance/compute/sandbox"
)

// Worker programs: the first word of a worker's command line is its name, the
// second makes plasmd a worker.
var workerArgs = []string{"plasmd", "worker"}

// process is a worker and this side of its channel.
type process struct {
	cmd     *exec.Cmd
	channel *sandbox.Channel
	group   *sandbox.Cgroup
	walls   []string
	key     key // what it has run; the zero key for nothing

	gone      chan struct{} // closed when it has ended, and the next three are set
	exit      error
	diagnosis string
	overGroup bool // its group was over its limit, and it was killed for it
}

// maxDiagnosis is the most of a worker's last words that is kept.
const maxDiagnosis = 64 << 10

// start starts a worker and has it build its walls, with these folders.
// Ending ctx kills it while it does so.
func start(ctx context.Context, groups *sandbox.Cgroups, folders []Folder) (_ *process, err error) {
	o := order{Do: doEnter}
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
		o.Folders = append(o.Folders, orderFolder{[]byte(f.Guest), f.ReadOnly})
	}
	p, err := launch(groups)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	r, err := p.ask(o, files)
	if err == nil && r.Failed != "" {
		err = errors.New(ui.Clean(r.Failed))
	}
	if err != nil {
		p.end()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("starting a worker: %w%s", err, p.lastWords())
	}
	p.walls = r.Walls
	if p.group != nil {
		p.walls = append(p.walls, "cgroup memory")
	}
	return p, nil
}

// launch starts the process.
func launch(groups *sandbox.Cgroups) (_ *process, err error) {
	group, err := groups.New(Charge(0, 0))
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
	p := &process{
		cmd:     &exec.Cmd{Path: "/proc/self/exe", Args: workerArgs, Stderr: diagnosis, ExtraFiles: []*os.File{theirs}},
		channel: channel, group: group, gone: make(chan struct{}),
	}
	ended, err := sandbox.Start(p.cmd, group)
	if err != nil {
		channel.Close()
		words.Close()
		return nil, err
	}
	go func() {
		kept := drain(words, maxDiagnosis)
		p.exit, p.diagnosis = <-ended, string(kept)
		p.overGroup = group.Killed()
		if err := group.Remove(); err != nil {
			slog.Warn("removing a worker's control group", "error", err)
		}
		close(p.gone)
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

// ask gives an order and waits for its report. It returns when the worker is
// killed.
func (p *process) ask(o order, files []*os.File) (report, error) {
	text, err := o.encode()
	if err != nil {
		return report{}, err
	}
	if err := p.channel.Send(text, files...); err != nil {
		return report{}, err
	}
	r, _, err := receive(p.channel, false)
	return r, err
}

// kill ends it at once; it does not wait.
func (p *process) kill() { _ = p.cmd.Process.Kill() } // fails only when it has ended

// cut kills it and lets nobody wait for what it might still say: from now on it
// runs nothing, but the kernel may take a while to give its memory back.
func (p *process) cut() {
	p.kill()
	p.channel.Close()
}

// end kills it and waits until nothing of it is left.
func (p *process) end() {
	p.cut()
	<-p.gone
}

// alive is false once the process has ended.
func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// lastWords is the first line of what a process that has ended said, to stand
// behind another message.
func (p *process) lastWords() string {
	first, _, _ := strings.Cut(p.diagnosis, "\n")
	if first == "" {
		return ""
	}
	return ": " + ui.Clean(first)
}

// outOfMemory reports whether a process that has ended died for want of memory:
// by what Go says then, or in Go's collector, which runs in a job only when
// memory is short (see worker.enter) and does not check what it gets for its
// own queues (newSpanSPMC of Go 1.26).
func (p *process) outOfMemory() bool {
	for _, words := range []string{"out of memory", "cannot allocate memory", "errno=12", "runtime.(*spanQueue)", "pthread_create failed"} {
		if strings.Contains(p.diagnosis, words) {
			return true
		}
	}
	return false
}

// killed reports whether a process that has ended was killed by SIGKILL.
func (p *process) killed() bool {
	var e *exec.ExitError
	if !errors.As(p.exit, &e) {
		return false
	}
	status, ok := e.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
