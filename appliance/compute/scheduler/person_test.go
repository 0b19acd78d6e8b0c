package scheduler_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/daemon/api"
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
	cmd := p.plasmd("start", "--network", "off")
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
