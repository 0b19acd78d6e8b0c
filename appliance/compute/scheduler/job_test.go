package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/worker"
	"phase/appliance/compute/worker/inside"
)

func TestMain(m *testing.M) {
	// What starts this binary as its worker, as plasmd may be.
	if len(os.Args) > 1 && os.Args[1] == worker.Command {
		os.Exit(inside.Main(context.Background()))
	}
	if len(os.Args) > 1 && os.Args[1] == wordBusy {
		busy()
	}
	if len(os.Args) > 1 && os.Args[1] == wordWalls {
		printWalls()
		return
	}
	syscall.Umask(0o022) // another user runs what is built here, and reads it
	remove, err := useWorker()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	remove()
	os.Exit(code)
}

// probe builds tests/guests/probe for WASI, once.
var probe = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "probe.wasm")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "phase/tests/guests/probe")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the probe: %w: %s", err, out)
	}
	return os.ReadFile(file)
})

func probeTask(t *testing.T, args ...string) Task {
	t.Helper()
	module, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	return task(module, args...)
}

func task(module []byte, args ...string) Task {
	return Task{Module: modulecache.NewModule(module), Args: append([]string{"probe"}, args...), MemoryMB: 64, Timeout: 10 * time.Minute, Cores: 1}
}

// run runs a task with its output caught.
func run(t *testing.T, task Task) (Result, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	task.Stdout, task.Stderr = &stdout, &stderr
	result, err := Run(t.Context(), task)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return result, stdout.String(), stderr.String()
}

func TestStreamsArgumentsAndEnvironmentPassUnchanged(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	result, stdout, stderr := run(t, probeTask(t, "both"))
	if stdout != string(all) || stderr != string(all)+string(all) || result.Outcome != job.Exited || result.ExitCode != 0 {
		t.Errorf("both: %+v, %d and %d bytes", result, len(stdout), len(stderr))
	}
	long := bytes.Repeat(all, 10000)
	cat := probeTask(t, "cat")
	cat.Stdin = bytes.NewReader(long)
	if _, stdout, _ := run(t, cat); stdout != string(long) {
		t.Errorf("cat: %d bytes came back of %d", len(stdout), len(long))
	}
	t.Setenv("SECRET", "1")
	args := probeTask(t, "args", "-x", "--", "a b", "", "\xff\xc3")
	args.Env = []string{"K=V=W", "E=", "B=\xfe"}
	if _, stdout, _ := run(t, args); stdout != `["probe" "args" "-x" "--" "a b" "" "\xff\xc3"] ["K=V=W" "E=" "B=\xfe"]`+"\n" {
		t.Errorf("args: %s", stdout)
	}
	if result, _, _ := run(t, probeTask(t, "exit", "7")); result.ExitCode != 7 || result.Outcome != job.Exited {
		t.Errorf("exit 7: %+v", result)
	}
}

func TestFilesAreHandedOverAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	cat := probeTask(t, "cat")
	cat.Stdin, cat.Stdout, cat.Stderr = stdin, stdout, io.Discard
	if _, err := Run(t.Context(), cat); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); string(got) != "from a file" {
		t.Errorf("the file holds %q", got)
	}
}

func TestFolders(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "given")
	for _, step := range []error{
		os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(dir, "file"), []byte("inside"), 0o644),
		os.Symlink("file", filepath.Join(dir, "good")),
		os.Symlink("../secret", filepath.Join(dir, "up")),
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "away")),
		os.Symlink("..", filepath.Join(dir, "dots")),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	type step struct {
		words    string
		ok       bool // where the folder may be changed
		readOnly bool // where it may not
		out      string
	}
	steps := []step{
		{"read /d/file", true, true, "inside"},
		{"read /d/good", true, true, "inside"},
		{"stat /d/good", true, true, "6"},
		{"readlink /d/up", true, true, "../secret"},
		{"ls /d", true, true, "/d,/d/away,/d/dots,/d/file,/d/good,/d/up,"},
		// What was not given.
		{"read /d/../secret", false, false, ""},
		{"read /d/up", false, false, ""},
		{"read /d/away", false, false, ""},
		{"read /d/dots/secret", false, false, ""},
		{"stat /d/up", false, false, ""},
		{"stat /d/dots/secret", false, false, ""},
		{"ls /d/dots/", false, false, ""},
		{"write /d/up x", false, false, ""},
		{"write /d/dots/new x", false, false, ""},
		{"rm /d/dots/secret", false, false, ""},
		{"mv /d/dots/secret /d/mine", false, false, ""},
		{"mv /d/file /d/dots/file", false, false, ""},
		{"link /d/dots/secret /d/mine", false, false, ""},
		{"touch /d/up", false, false, ""},
		{"truncate /d/up", false, false, ""},
		{"mkdir /d/dots/new", false, false, ""},
		{"ln /etc /d/etc", false, false, ""},
		{"read /etc/passwd", false, false, ""},
		{"dial", false, false, ""},
		// Changes.
		{"write /d/new x", true, false, ""},
		{"append /d/new y", true, false, ""},
		{"read /d/new", true, false, "xy"},
		{"append /d/file y", true, false, ""},
		{"touch /d/file", true, false, ""},
		{"mkdir /d/sub", true, false, ""},
		{"mv /d/new /d/sub/new", true, false, ""},
		{"ln sub/new /d/link", true, false, ""},
		{"link /d/sub/new /d/hard", true, false, ""},
		{"touch /d/sub/new", true, false, ""},
		{"truncate /d/sub/new", true, false, ""},
		{"stat /d/link", true, false, "0"},
		{"rm /d/sub", false, false, ""},
		{"rm /d/link", true, false, ""},
		{"rm /d/sub/new", true, false, ""},
		{"rm /d/sub", true, false, ""},
	}
	words := []string{"steps"}
	for _, s := range steps {
		words = append(words, s.words)
	}
	for _, readOnly := range []bool{true, false} {
		p := probeTask(t, words...)
		p.Folders = []worker.Folder{{Host: dir, Guest: "/d", ReadOnly: readOnly}}
		_, stdout, stderr := run(t, p)
		lines := strings.Split(stdout, "\n")
		if len(lines) != len(steps)+1 {
			t.Fatalf("read-only %v: %d lines for %d steps: %s", readOnly, len(lines), len(steps), stderr)
		}
		for i, s := range steps {
			want := s.ok
			if readOnly {
				want = s.readOnly
			}
			if strings.Contains(lines[i], "refused: ") == want {
				t.Errorf("%s, read-only %v: %q", s.words, readOnly, lines[i])
			}
			if want && lines[i] != s.out {
				t.Errorf("%s, read-only %v: printed %q, want %q", s.words, readOnly, lines[i], s.out)
			}
		}
		if got, err := os.ReadFile(filepath.Join(dir, "file")); readOnly && string(got) != "inside" {
			t.Errorf("the read-only file: %q, %v", got, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(outside, "secret")); string(got) != "secret" {
		t.Errorf("the file outside: %q, %v", got, err)
	}
}

func TestMissingFolderIsNamed(t *testing.T) {
	p := probeTask(t, "args")
	p.Folders = []worker.Folder{{Host: "/does/not/exist", Guest: "/d"}}
	if _, err := Run(t.Context(), p); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("Run: %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := probeTask(t, "sleep")
	p.Stdout, p.Stderr = writerFunc(func(b []byte) (int, error) {
		cancel() // it has begun
		return len(b), nil
	}), io.Discard
	result, err := Run(ctx, p)
	if err != nil || result.Outcome != job.Cancelled || result.ExitCode != 130 {
		t.Errorf("Run = %+v, %v", result, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
