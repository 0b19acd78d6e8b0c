package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"phase/appliance/base/tool"
)

// process is one power-on: one QEMU.
type process struct {
	cmd     *exec.Cmd
	monitor *monitor
	ports   []*Port
	stderr  tailBuffer
	done    chan struct{}
	err     error // after done: nil when the guest switched itself off or QEMU was killed here
	why     atomic.Value
}

// start runs QEMU with its clock stopped, connects everything, then lets it go.
func (m *Machine) start(ctx context.Context) (*process, error) {
	c := m.config
	binary, err := tool.Find(Binary(c.Arch))
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(binary, arguments(c, m.files)...), done: make(chan struct{})}
	err = p.connect(c, m.event)
	var input io.Writer
	if err == nil {
		input, err = p.launch(m.Console)
	}
	// QEMU has its own copies by now; while ours are open, the other ends do not see that QEMU has ended.
	for _, f := range p.cmd.ExtraFiles {
		f.Close()
	}
	if err != nil {
		p.unplug()
		return nil, err
	}
	err = p.monitor.command(ctx, "qmp_capabilities", nil)
	for i, n := range c.NICs {
		if err == nil && n.Unplugged { // before its first instruction
			err = p.monitor.command(ctx, "set_link", link(i, false))
		}
	}
	if err == nil {
		m.Console.powerOn(input)
		err = p.monitor.command(ctx, "cont", nil)
	}
	if err != nil {
		p.kill("it did not start")
		return nil, fmt.Errorf("starting machine %q: %w: %s", c.Name, err, p.stderr.String())
	}
	return p, nil
}

// connect makes the sockets of the monitor and of the NICs. QEMU's ends of them are its ExtraFiles; once the last copy of
// those is closed, ours end by themselves.
func (p *process) connect(c Config, event func(string, map[string]any)) error {
	pair := func() (net.Conn, error) {
		ours, theirs, err := socketPair()
		if err == nil {
			p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, theirs)
		}
		return ours, err
	}
	conn, err := pair()
	if err != nil {
		return err
	}
	p.monitor = newMonitor(conn, event)
	for i, n := range c.NICs {
		if conn, err = pair(); err != nil {
			return err
		}
		name := c.Name
		if i > 0 {
			name = fmt.Sprintf("%s.%d", c.Name, i)
		}
		port, err := n.Segment.plugStream(name, n.MAC, conn)
		if err != nil {
			conn.Close()
			return err
		}
		p.ports = append(p.ports, port)
	}
	return nil
}

// launch starts QEMU and returns its serial console's input.
func (p *process) launch(console *Console) (io.Writer, error) {
	p.cmd.Stderr = &p.stderr
	// A process group of its own, so that a ctrl-c on the terminal reaches this process alone; SIGKILL when this process ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	input, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error)
	go p.run(console, output, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.cmd.Path, err)
	}
	return input, nil
}

// run lives as long as QEMU and keeps its thread: the kernel sends Pdeathsig when the thread that forked ends.
func (p *process) run(console *Console, output io.Reader, started chan error) {
	defer close(p.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	buf := make([]byte, 16<<10)
	for err == nil {
		var n int
		n, err = output.Read(buf)
		console.serial(buf[:n])
	}
	err = p.cmd.Wait()
	<-p.monitor.gone // its last events come before the power-off
	why, _ := p.why.Load().(string)
	if why == "" && err == nil {
		why = "the machine switched itself off"
	} else if why == "" {
		p.err = fmt.Errorf("QEMU died: %w: %s", err, p.stderr.String())
		why = p.err.Error()
	}
	console.powerOff(why)
}

// kill ends QEMU as a power cut would end the machine, and waits until it has ended.
func (p *process) kill(why string) {
	p.why.CompareAndSwap(nil, why)
	p.cmd.Process.Kill()
	<-p.done
	p.unplug()
}

func (p *process) unplug() {
	for _, port := range p.ports {
		port.Close()
	}
}

func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair for QEMU: %w", err)
	}
	for _, fd := range fds {
		// Room for a burst of frames: the default, 208 KB, is what the kernel charges for about 90 of them.
		_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<20)
	}
	f, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "qemu's")
	defer f.Close()
	if ours, err = net.FileConn(f); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("making a socket pair for QEMU: %w", err), theirs.Close())
	}
	return ours, theirs, nil
}

// tailBuffer keeps the last 8 KiB of what QEMU complains about. It is read after QEMU has ended.
type tailBuffer []byte

func (t *tailBuffer) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-8<<10):]
	return len(p), nil
}

func (t tailBuffer) String() string { return strings.TrimSpace(string(t)) }
