package plasmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/daemon/api"
	"phase/tests/await"
)

// executed runs execute-job with an input and returns what it did.
func executed(ctx context.Context, stdin io.Reader, args ...string) (answered, error) {
	var out bytes.Buffer
	var a answered
	if err := Run(ctx, append([]string{"execute-job"}, args...), stdin, &out, io.Discard); err != nil {
		return a, err
	}
	err := json.Unmarshal(out.Bytes(), &a)
	return a, err
}

// answered is what is looked at of an answer.
type answered struct {
	RunID   string      `json:"run_id"`
	Outcome job.Outcome `json:"outcome"`
	Stdout  string      `json:"stdout"`
	Receipt struct {
		Payload []byte `json:"payload"`
	} `json:"receipt"`
}

// input is the digest of the input that the receipt speaks of, as job files
// write it.
func (a answered) input(t *testing.T) string {
	t.Helper()
	var s receipt.Statement
	if err := json.Unmarshal(a.Receipt.Payload, &s); err != nil {
		t.Fatal(err)
	}
	return "sha256:" + s.Predicate.StdinSHA256
}

// endless is an input that is always there.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// An input that has no end keeps no job from its own.
func TestInputThatNeverEnds(t *testing.T) {
	dir := user(t)
	least, loop := filepath.Join(dir, "least.wasm"), filepath.Join(dir, "loop.wasm")
	for path, module := range map[string][]byte{least: leastModule, loop: loopModule} {
		if err := os.WriteFile(path, module, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	silent, never, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { never.Close(); silent.Close() })
	check := func(t *testing.T) {
		for name, stdin := range map[string]io.Reader{"silent": silent, "endless": endless{}} {
			for module, want := range map[string]job.Outcome{least: job.Exited, loop: job.Timeout} {
				a, err := executed(t.Context(), stdin, "--memory", "1", "--timeout", "1", module)
				if err != nil || a.Outcome != want {
					t.Errorf("%s, %s: %q, %v; want %s", name, filepath.Base(module), a.Outcome, err, want)
				}
			}
			// What the node does not take is not sent.
			if _, err := executed(t.Context(), stdin, "--cpu", "64", least); err == nil || !strings.Contains(err.Error(), "cpu_cores") {
				t.Errorf("%s, 64 cores: %v", name, err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := executed(ctx, silent, least); err == nil {
			t.Error("a job that was given up has a result")
		}
	}
	t.Run("alone", check)
	c, stop := run(t, "start", "--state", dir, "--network", "off")
	c.wait(t, `^listening on (.*)$`)
	t.Run("daemon", check)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// parts is an input that comes in parts, each when it may.
type parts struct {
	text []string
	next func() error
}

func (p *parts) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	if err := p.next(); err != nil {
		return 0, err
	}
	n := copy(b, p.text[0])
	p.text = p.text[1:]
	return n, nil
}

// A job names the input that was there before it began. What comes later goes
// in as it comes, and the receipt speaks of all of it.
func TestInputAtOnceAndLater(t *testing.T) {
	hello := module(t)
	dir := user(t)
	least := filepath.Join(dir, "least.wasm")
	if err := os.WriteFile(least, leastModule, 0o600); err != nil {
		t.Fatal(err)
	}
	c, stop := run(t, "start", "--state", dir, "--network", "off")
	client := api.NewClient(filepath.Join(dir, "XDG_RUNTIME_DIR", "phase", "plasmd.sock"))
	c.wait(t, `^listening on (.*)$`)
	named := func(a answered) string {
		detail, err := client.Job(t.Context(), a.RunID)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := job.Parse(detail.Job)
		if err != nil {
			t.Fatal(err)
		}
		return spec.Job().StdinHash
	}
	once, err := executed(t.Context(), strings.NewReader("read by nobody"), least)
	if want := job.Hash([]byte("read by nobody")); err != nil || once.input(t) != want || named(once) != want {
		t.Errorf("at once: the receipt says %s, the job %s, %v; want %s", once.input(t), named(once), err, want)
	}
	// running waits until a job is.
	running := func() error {
		var problem error
		err := await.Until(t.Context(), func() bool {
			page, err := client.Jobs(t.Context(), "", 1)
			problem = err
			return err != nil || len(page.Jobs) == 1 && page.Jobs[0].State == history.Running
		})
		return errors.Join(err, problem)
	}
	later, err := executed(t.Context(), &parts{[]string{"one ", "two"}, running}, hello)
	if want := job.Hash([]byte("one two")); err != nil || later.Stdout != "owt eno" || later.input(t) != want || named(later) != "" {
		t.Errorf("later: %q, the receipt says %s, the job %q, %v; want %s", later.Stdout, later.input(t), named(later), err, want)
	}
	broken := errors.New("the disk is gone")
	_, err = executed(t.Context(), &parts{[]string{"one"}, func() error { return errors.Join(running(), broken) }}, hello)
	if !errors.Is(err, broken) {
		t.Errorf("an input that breaks: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
