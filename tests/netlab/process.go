package netlab

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Program is a command to run in a machine.
type Program struct {
	Name  string   // for messages; empty for the last part of the path
	Path  string   // of the program, or its name in PATH
	Args  []string // without the program's own name
	Env   []string // added to the environment of the test
	Dir   string   // working folder; empty for that of the test
	Input string   // standard input
	Root  string   // a folder that is / for it; empty for that of the test
	User  uint32   // whom it runs as, user and group, without further groups; 0 for who the test is
	Quiet bool     // what it prints is kept, and shown only when a wait for it fails
}

// attributes are what the kernel is told of the process.
func (c Program) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Chroot: c.Root}
	if c.User != 0 {
		a.Credential = &syscall.Credential{Uid: c.User, Gid: c.User}
	}
	return a
}

// Process is a program that runs in a machine. What it prints, on both
// outputs, is kept by lines.
type Process struct {
	Name string
	cmd  *exec.Cmd

	mu     sync.Mutex
	output []string
	news   chan struct{} // closed and replaced when a line has come
	ended  chan struct{} // closed when it has ended and all is read
	err    error         // of Wait; read after ended
}

// Start starts a program in the machine. It is killed at the end of the test,
// if it still runs then.
func (m *Machine) Start(t testing.TB, c Program) *Process {
	t.Helper()
	if c.Name == "" {
		c.Name = c.Path[strings.LastIndexByte(c.Path, '/')+1:]
	}
	p := &Process{Name: m.Name + " " + c.Name, news: make(chan struct{}), ended: make(chan struct{})}
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), c.Env...), c.Dir
	p.cmd.Stdin = strings.NewReader(c.Input)
	p.cmd.SysProcAttr = c.attributes()
	p.cmd.SysProcAttr.Setpgid = true
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	err = m.Try(p.cmd.Start) // a child is born into the namespace of the thread that forks it
	writer.Close()
	if err != nil {
		reader.Close()
		t.Fatalf("starting %s: %v", p.Name, err)
	}
	log := func(string) {}
	if !c.Quiet {
		log = func(line string) { t.Logf("%s: %s", p.Name, line) }
	}
	exit := make(chan error, 1)
	go func() {
		exit <- p.cmd.Wait()
		// What it left behind in its group would hold the output open.
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}()
	go p.read(reader, log, exit)
	t.Cleanup(func() { p.Kill() })
	return p
}

// read keeps what the process prints and waits for its end.
func (p *Process) read(output io.ReadCloser, log func(string), exit <-chan error) {
	defer output.Close()
	scanner := bufio.NewScanner(output)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		log(scanner.Text())
		p.mu.Lock()
		p.output = append(p.output, scanner.Text())
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
	}
	io.Copy(io.Discard, output) // after a line that is too long
	p.err = <-exit
	close(p.ended)
}

// Lines returns what the process has printed so far.
func (p *Process) Lines() []string {
	lines, _ := p.linesAnd()
	return lines
}

// linesAnd returns the lines so far and what is closed when there are more.
func (p *Process) linesAnd() ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output[:len(p.output):len(p.output)], p.news
}

// Await returns the first line, of all that the process prints from its start,
// for which ok is true. It fails the test when the process ends before, or
// after a minute.
func (p *Process) Await(t testing.TB, what string, ok func(line string) bool) string {
	t.Helper()
	timeout := time.After(patience)
	for seen := 0; ; {
		lines, news := p.linesAnd()
		for ; seen < len(lines); seen++ {
			if ok(lines[seen]) {
				return lines[seen]
			}
		}
		select {
		case <-news:
		case <-p.ended:
			if lines, _ := p.linesAnd(); len(lines) == seen {
				t.Fatalf("%s has ended (%v); waiting for: %s; it said:\n%s", p.Name, p.err, what, tail(lines))
			}
		case <-timeout:
			t.Fatalf("%s: waited %v for: %s; it said:\n%s", p.Name, patience, what, tail(lines))
		}
	}
}

// AwaitText is Await for a line that holds text.
func (p *Process) AwaitText(t testing.TB, text string) string {
	t.Helper()
	return p.Await(t, text, func(line string) bool { return strings.Contains(line, text) })
}

// AwaitEnd waits for the process to end by itself and returns how: nil for
// exit code 0. It fails the test after a minute.
func (p *Process) AwaitEnd(t testing.TB) error {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s does not end; it said:\n%s", p.Name, tail(p.Lines()))
	}
	return p.err
}

// Stop ends the process in good order (SIGTERM) and waits for it.
func (p *Process) Stop(t testing.TB) error {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.AwaitEnd(t)
}

// Kill ends the process, and what it started in its group, as a power cut does:
// it says no goodbye.
func (p *Process) Kill() {
	select {
	case <-p.ended:
		return // its number may be another's by now
	default:
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// Freeze stops the process where it is; its sockets stay open and silent.
func (p *Process) Freeze() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (p *Process) Thaw() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT) }

// PID is the number of the process, for /proc.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// tail is the end of what a process printed.
func tail(lines []string) string { return strings.Join(lines[max(0, len(lines)-40):], "\n") }

// Run runs a program in the machine to its end and returns what it printed on
// its two outputs.
func (m *Machine) Run(c Program) (stdout, stderr string, err error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env, cmd.Dir = append(os.Environ(), c.Env...), c.Dir
	cmd.Stdin = strings.NewReader(c.Input)
	cmd.SysProcAttr = c.attributes()
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := m.Try(cmd.Start); err != nil {
		return "", "", err
	}
	timeout := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timeout.Stop()
	err = cmd.Wait()
	return out.String(), problems.String(), err
}
