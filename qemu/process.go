package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// process is one power-on: one QEMU.
type process struct {
	cmd     *exec.Cmd
	monitor *monitor
	ports   []*Port
	stdin   *os.File
	stderr  tailBuffer
	done    chan struct{}
	err     error // after done: nil when the guest switched itself off or we killed QEMU
	why     atomic.Value
}

// start runs QEMU with its clock stopped, connects everything, then lets it go.
func (m *Machine) start(ctx context.Context, accel string) (_ *process, err error) {
	c := m.config
	binary, err := exec.LookPath(Binary(c.Arch))
	if err != nil {
		return nil, missing(Binary(c.Arch))
	}
	p := &process{done: make(chan struct{})}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, port := range p.ports {
				port.Close()
			}
		}
	}()
	pair := func() (net.Conn, error) {
		ours, other, err := socketPair()
		if err == nil {
			theirs = append(theirs, other)
		}
		return ours, err
	}
	mon, err := pair()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			mon.Close()
		}
	}()
	for i, n := range c.NICs {
		conn, err := pair()
		if err != nil {
			return nil, err
		}
		name := c.Name
		if i > 0 {
			name = fmt.Sprintf("%s.%d", c.Name, i)
		}
		port, err := n.Segment.plugStream(name, n.MAC, conn)
		if err != nil {
			conn.Close()
			return nil, err
		}
		p.ports = append(p.ports, port)
	}
	stdinR, stdinW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the console's pipe: %w", err)
	}
	stdoutR, stdoutW, err := os.Pipe()
	if err != nil {
		stdinR.Close()
		stdinW.Close()
		return nil, fmt.Errorf("making the console's pipe: %w", err)
	}
	p.stdin = stdinW
	p.cmd = exec.Command(binary, arguments(c, m.files, accel)...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdinR, stdoutW, &p.stderr
	p.cmd.ExtraFiles = theirs
	// A group of its own, so that a ctrl-c on the terminal is ours to handle; and gone with us, however we go.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p.monitor = newMonitor(mon, m.event)
	started := make(chan error)
	go p.run(m.Console, stdoutR, started, stdinR, stdoutW)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	// QEMU has its own by now; ours would hide that it is gone.
	for _, f := range theirs {
		f.Close()
	}
	theirs = nil
	err = p.monitor.command(ctx, "qmp_capabilities", nil, nil)
	for i, n := range c.NICs {
		if err == nil && n.Unplugged { // before its first instruction
			err = p.monitor.command(ctx, "set_link", link(i, false), nil)
		}
	}
	if err == nil {
		m.Console.powerOn(stdinW)
		err = p.monitor.command(ctx, "cont", nil, nil)
	}
	if err != nil {
		p.kill("it did not start")
		return nil, fmt.Errorf("starting machine %q: %w: %s", c.Name, err, p.stderr.String())
	}
	return p, nil
}

// run lives as long as QEMU and keeps its thread: the kernel sends Pdeathsig when the thread that forked ends.
func (p *process) run(console *Console, stdout *os.File, started chan error, theirs ...*os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	for _, f := range theirs {
		f.Close()
	}
	started <- err
	if err != nil {
		stdout.Close()
		p.stdin.Close()
		close(p.done)
		return
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := stdout.Read(buf)
		console.serial(buf[:n])
		if err != nil {
			break
		}
	}
	stdout.Close()
	err = p.cmd.Wait()
	p.stdin.Close()
	<-p.monitor.gone // its last events come before the power-off
	why, _ := p.why.Load().(string)
	if why == "" && err == nil {
		why = "the machine switched itself off"
	} else if why == "" {
		p.err = fmt.Errorf("QEMU died: %w: %s", err, p.stderr.String())
		why = p.err.Error()
	}
	console.powerOff(why)
	close(p.done)
}

// kill ends QEMU as a power cut would end the machine, and waits until it is gone.
func (p *process) kill(why string) {
	p.why.CompareAndSwap(nil, why)
	p.cmd.Process.Kill()
	<-p.done
	for _, port := range p.ports {
		port.Close()
	}
}

func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair for QEMU: %w", err)
	}
	for _, fd := range fds {
		// Room for a burst of frames: the default, 208 KB, is what the kernel charges for about 90 of them.
		_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<20)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "qemu's")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("making a socket pair for QEMU: %w", err), theirs.Close())
	}
	return conn, theirs, nil
}

// tailBuffer keeps the last 8 KiB of what QEMU complains about.
type tailBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 8<<10 {
		t.b = t.b[len(t.b)-8<<10:]
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
