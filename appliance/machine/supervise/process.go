package supervise

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// once runs the service to its end and says how it ended.
func (set *Set) once(ctx context.Context, r *running) string {
	// A pipe of our own, not exec's: its Wait would wait for every worker that
	// still holds the pipe, and we kill those only after it.
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Sprintf("could not be started (%v)", err)
	}
	defer read.Close()
	cmd := command(ctx, r.service)
	cmd.Stdout, cmd.Stderr = write, write
	files, err := r.service.open()
	if err == nil {
		cmd.ExtraFiles = files
		err = set.launch(cmd, r)
	}
	for _, f := range append(files, write) {
		f.Close()
	}
	if err != nil {
		return fmt.Sprintf("could not be started (%v)", err)
	}
	allRead := make(chan struct{})
	go func() {
		defer close(allRead)
		eachLine(read, func(text string) { set.say(r, text) })
	}()
	err = cmd.Wait()
	// What it started itself must not outlive it, nor the memory it holds; it
	// leads a session and so a process group of its own. Workers of jobs, which
	// lead their own, die with it by themselves.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // ESRCH: none is left
	set.Reap()
	select {
	case <-allRead:
	case <-time.After(drainTime):
		// A process that left the process group holds the pipe.
	}
	return ending(err)
}

// open opens what a service is handed on.
func (s Service) open() (files []*os.File, err error) {
	for _, open := range s.Files {
		f, err := open()
		if err != nil {
			f, err = os.Open(os.DevNull)
		}
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

// command is the process of a service, not started yet.
func command(ctx context.Context, s Service) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Path, s.Args...)
	cmd.Args[0] = s.Name // the multi-call binary goes by its name
	cmd.Env = s.Env
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.GID}
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	return cmd
}

// launch starts the process of a service in its control group.
func (set *Set) launch(cmd *exec.Cmd, r *running) error {
	if r.service.Cgroup != "" {
		group, err := os.Open(r.service.Cgroup)
		if err != nil {
			return err
		}
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	set.spawn.RLock()
	defer set.spawn.RUnlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	r.status.PID, r.status.Started = cmd.Process.Pid, time.Now()
	return nil
}

// ending says in words how a process ended.
func ending(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "ended by itself"
	case !errors.As(err, &exit):
		return fmt.Sprintf("ended (%v)", err)
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return fmt.Sprintf("was killed by signal %d (%s)", status.Signal(), status.Signal())
	}
	return fmt.Sprintf("ended with exit code %d", exit.ExitCode())
}

// eachLine calls line for each line of in that is not empty, of at most maxLine
// bytes, until in ends.
func eachLine(in io.Reader, line func(string)) {
	buffered := bufio.NewReaderSize(in, maxLine)
	for {
		text, err := buffered.ReadSlice('\n')
		if text = bytes.TrimSuffix(text, []byte("\n")); len(text) > 0 {
			line(string(text))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
