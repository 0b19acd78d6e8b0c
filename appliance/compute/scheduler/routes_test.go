package scheduler_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/api"
	"phase/tests/await"
)

// person is somebody who has plasmd: the program as it is built, and a home.
// Root's own folders are not touched: where this is root, the person is nobody.
type person struct {
	t     *testing.T
	home  string
	base  time.Duration // what a run of nothing takes
	limit time.Duration // of the next run
}

func newPerson(t *testing.T) *person {
	t.Helper()
	home, err := os.MkdirTemp("", "person") // which another user can reach
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	p := &person{t: t, home: home, limit: time.Minute}
	build := exec.Command("go", "build", "-o", p.path("plasmd"), "phase/programs/phase")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building plasmd: %v: %s", err, out)
	}
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

const nobody = 65534

func (p *person) path(name string) string { return filepath.Join(p.home, name) }

// plasmd is a command of the person's.
func (p *person) plasmd(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), p.path("plasmd"), args...)
	cmd.Dir = p.home
	cmd.Env = []string{"HOME=" + p.home, "XDG_RUNTIME_DIR=" + p.home}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// pin is the person's own node.
func (p *person) pin() receipt.Pin {
	p.t.Helper()
	id, err := identity.Load(p.path(".local/share/phase"))
	if err != nil {
		p.t.Fatal(err)
	}
	return receipt.Pin{PeerID: id.PeerID(), Key: id.Public()}
}

// ended is how a run went, as its route tells it.
type ended struct {
	outcome job.Outcome // "" where the route tells no more than the code
	code    uint32
	begun   time.Time
	dead    time.Time
	receipt []byte // nil where there is none
}

// finish runs a command to its end, with an input that nobody writes and that
// does not end; what it writes is looked at, or lost.
func (p *person) finish(cmd *exec.Cmd, stdout io.Writer) ended {
	p.t.Helper()
	var said bytes.Buffer
	stdin, never, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	defer stdin.Close()
	defer never.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &said
	e := ended{begun: time.Now()}
	err = cmd.Run()
	e.dead = time.Now()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if said.Len() > 0 {
		p.t.Errorf("it says on standard error: %.300s", said.String())
	}
	e.code = uint32(cmd.ProcessState.ExitCode())
	return e
}

// discard takes output as a pipe does, and not as the file /dev/null.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func (p *person) run(file string, flags ...string) ended {
	p.t.Helper()
	return p.finish(p.plasmd(append(append([]string{"run", "--memory", "64", "--timeout", p.limit.String()}, flags...), file)...), discard{})
}

func (p *person) attested(file string) ended {
	p.t.Helper()
	e := p.run(file, "--receipt", p.path("receipt.json"))
	var err error
	if e.receipt, err = os.ReadFile(p.path("receipt.json")); err != nil {
		p.t.Fatal(err)
	}
	return e
}

func (p *person) execute(file string) ended {
	p.t.Helper()
	var out bytes.Buffer
	e := p.finish(p.plasmd("execute-job", "--memory", "64", "--timeout", p.limit.String(), file), &out)
	var answer struct {
		Outcome job.Outcome     `json:"outcome"`
		Code    uint32          `json:"exit_code"`
		Receipt json.RawMessage `json:"receipt"`
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil || e.code != 0 {
		p.t.Fatalf("exit code %d, %.300s: %v", e.code, out.String(), err)
	}
	e.outcome, e.code, e.receipt = answer.Outcome, answer.Code, answer.Receipt
	return e
}

// posted sends a module to the person's daemon.
func (p *person) posted(file string) ended {
	p.t.Helper()
	module, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	o := offer(p.t, module, func(j *job.Job) { j.TimeoutSeconds, j.MemoryMB = int(p.limit.Seconds()), 64 })
	client := api.NewClient(p.path("phase/plasmd.sock"))
	e := ended{begun: time.Now()}
	done, err := client.Execute(p.t.Context(), o)
	e.dead = time.Now()
	if err != nil {
		p.t.Fatal(err)
	}
	kept, err := client.Job(p.t.Context(), done.RunID)
	if err != nil || kept.Outcome == nil || *kept.Outcome != done.Outcome || !bytes.Equal(kept.Receipt, done.Receipt) {
		p.t.Errorf("the daemon remembers %+v, %v", kept.Run, err)
	}
	e.outcome, e.code, e.receipt = done.Outcome, done.ExitCode, done.Receipt
	return e
}

// daemon starts the person's own.
func (p *person) daemon() *exec.Cmd {
	p.t.Helper()
	cmd := p.plasmd("start")
	said, err := cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill() // which the test may have done
		_ = cmd.Wait()
	})
	log := bufio.NewReader(said)
	for {
		line, err := log.ReadString('\n')
		if err != nil {
			p.t.Fatalf("plasmd ended before it listened: %v", err)
		}
		if strings.HasPrefix(line, "listening on ") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // until it ends
	return cmd
}

// TestHostileModulesByEveryRoute: the program itself, as people use it. In the
// short tier every other module goes one of the ways.
func TestHostileModulesByEveryRoute(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	p := newPerson(t)
	routes := []struct {
		name          string
		take          func(string) ended
		capped, empty bool // its output, its input
	}{
		{"run", func(file string) ended { return p.run(file) }, false, false},
		{"run with a receipt", p.attested, false, false},
		{"execute-job", p.execute, true, false},
		{"daemon", p.posted, true, true},
	}
	for i, h := range scheduler.HostileModules() {
		file := p.path(strconv.Itoa(i) + ".wasm")
		if err := os.WriteFile(file, h.Module(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := os.Getenv("PHASE_TIER") == "all"
	var daemon *exec.Cmd
	for r, route := range routes {
		if route.name == "daemon" { // the routes before it must not find one
			daemon = p.daemon()
		}
		e := route.take(p.path(strconv.Itoa(len(scheduler.HostileModules())-1) + ".wasm")) // nothing at all
		p.base = e.dead.Sub(e.begun)
		for i, h := range scheduler.HostileModules() {
			if !all && i%(2*len(routes)) != r {
				continue
			}
			t.Run(route.name+"/"+h.Name(), scheduler.Thrice(func(t *testing.T) error {
				p.t = t
				may := slices.Clone(h.Outcomes())
				for i, o := range may {
					if o == job.Output && !route.capped {
						may[i] = job.Timeout
					}
				}
				if route.empty && h.Name() == "blocking read" {
					may = []job.Outcome{job.Exited}
				}
				p.limit = h.Limit()
				return p.check(route.take(p.path(strconv.Itoa(i)+".wasm")), may)
			}))
		}
		p.t = t
	}
	killed(t, p, daemon)
}

// check holds the end of a run to what it may be, and its receipt to the same.
// It is an error that it was late.
func (p *person) check(e ended, may []job.Outcome) (late error) {
	t := p.t
	t.Helper()
	t.Logf("%s %d after %v", e.outcome, e.code, e.dead.Sub(e.begun))
	if e.outcome != job.Output { // which is 64 MiB to print
		late = scheduler.OnTime(e.begun.Add(p.limit+p.base), e.dead)
	}
	if !slices.ContainsFunc(may, func(o job.Outcome) bool {
		return e.code == o.ExitCode(0) && (e.outcome == "" || e.outcome == o)
	}) {
		t.Errorf("%s, exit code %d; want %v", e.outcome, e.code, may)
	}
	if e.receipt == nil {
		return late
	}
	s, err := receipt.Verify(e.receipt, p.pin())
	if err != nil {
		t.Fatal(err)
	}
	said := s.Predicate
	if !slices.Contains(may, said.Outcome) || said.ExitCode != e.code || e.outcome != "" && said.Outcome != e.outcome {
		t.Errorf("the receipt says %s %d, and the route %s %d", said.Outcome, said.ExitCode, e.outcome, e.code)
	}
	return errors.Join(late, scheduler.OnTime(said.Started.Add(p.limit), said.Finished))
}

// killed: a daemon that is killed in the middle of a run leaves no process.
func killed(t *testing.T, p *person, daemon *exec.Cmd) {
	t.Helper()
	client := api.NewClient(p.path("phase/plasmd.sock"))
	module, err := os.ReadFile(p.path("0.wasm")) // the endless loop
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan error, 1)
	go func() {
		_, err := client.Execute(t.Context(), offer(t, module, nil))
		lost <- err
	}()
	var problem error
	if err := await.Until(t.Context(), func() bool {
		node, err := client.Node(t.Context())
		problem = err
		return err != nil || node.Running == 1
	}); err != nil || problem != nil {
		t.Fatal(err, problem)
	}
	ends := running(t, p.path("plasmd"))
	if len(ends) < 2 {
		t.Errorf("%d processes while a module runs", len(ends))
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait() // it was killed
	if err := <-lost; err == nil {
		t.Error("a job of a daemon that was killed has a result")
	}
	for _, end := range ends {
		if err := end(); err != nil {
			t.Errorf("workers outlive the daemon: %v", err)
		}
	}
}

// running returns, for each process of a program, what waits for its end.
func running(t *testing.T, program string) (ends []func() error) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if of, err := os.Readlink(link); err != nil || of != program {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
		if err != nil {
			continue // it has ended
		}
		t.Cleanup(func() { unix.Close(fd) })
		ends = append(ends, func() error {
			for {
				n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(await.Patience.Milliseconds()))
				switch {
				case err == unix.EINTR:
				case err != nil:
					return err
				case n == 0:
					return fmt.Errorf("process %d has not ended within %v", pid, await.Patience)
				default:
					return nil
				}
			}
		})
	}
	return ends
}
