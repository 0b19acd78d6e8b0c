package machines

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/identity"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/qemu"
	"phase/tests/lab"
)

// Modules by hand, in the text format above each.
const (
	// (module (func (export "_start") (loop (br 0))))
	spinner = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b"
	// (module (table 1 funcref) (func (export "_start")
	//   (loop (drop (table.grow 0 (ref.null func) (i32.const 1048576))) (br 0))))
	hog = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x04\x04\x01\x70\x00\x01\x07\x0a\x01\x06_start\x00\x00" +
		"\x0a\x14\x01\x12\x00\x03\x40\xd0\x70\x41\x80\x80\xc0\x00\xfc\x0f\x00\x1a\x0c\x00\x0b\x0b"
	// (module (import "wasi_snapshot_preview1" "path_open" (func
	//     (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
	//   (import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32)))
	//   (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
	//   (memory (export "memory") 1) (data (i32.const 0) "etc/passwd")
	//   (func (export "_start") (call 2 (i32.add
	//     (call 0 (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 32))
	//     (call 1 (i32.const 3) (i32.const 0) (i32.const 32))))))
	reaching = "\x00asm\x01\x00\x00\x00\x01\x1c\x04\x60\x00\x00\x60\x09\x7f\x7f\x7f\x7f\x7f\x7e\x7e\x7f\x7f\x01\x7f\x60\x03\x7f\x7f\x7f\x01\x7f\x60\x01\x7f\x00" +
		"\x02\x6c\x03\x16wasi_snapshot_preview1\x09path_open\x00\x01\x16wasi_snapshot_preview1\x0bsock_accept\x00\x02" +
		"\x16wasi_snapshot_preview1\x09proc_exit\x00\x03\x03\x02\x01\x00\x05\x03\x01\x00\x01" +
		"\x07\x13\x02\x06_start\x00\x03\x06memory\x02\x00" +
		"\x0a\x23\x01\x21\x00\x41\x03\x41\x00\x41\x00\x41\x0a\x41\x00\x42\x00\x42\x00\x41\x00\x41\x20\x10\x00" +
		"\x41\x03\x41\x00\x41\x20\x10\x01\x6a\x10\x02\x0b" +
		"\x0b\x10\x01\x00\x41\x00\x0b\x0aetc/passwd"
	badf = 8 // WASI's errno of a descriptor that there is not
	// (module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
	//   (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\00\10\00\00")
	//   (func (export "_start") (loop
	//     (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))
	flood = "\x00asm\x01\x00\x00\x00\x01\x0c\x02\x60\x00\x00\x60\x04\x7f\x7f\x7f\x7f\x01\x7f" +
		"\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x01\x03\x02\x01\x00\x05\x03\x01\x00\x01" +
		"\x07\x13\x02\x06_start\x00\x01\x06memory\x02\x00" +
		"\x0a\x14\x01\x12\x00\x03\x40\x41\x01\x41\x00\x41\x01\x41\x08\x10\x00\x1a\x0c\x00\x0b\x0b" +
		"\x0b\x0e\x01\x00\x41\x00\x0b\x08\x10\x00\x00\x00\x00\x10\x00\x00"
)

// Jobs on a node, good and bad ones: each ends as it must, with a receipt by the
// key on the console, behind the walls that /status names, and the node stays
// what it is. A receipt once given outlives the power.
func TestJobs(t *testing.T) {
	for _, c := range []struct {
		arch string
		long bool
	}{{qemu.X86_64, false}, {qemu.ARM64, true}} {
		t.Run(c.arch, func(t *testing.T) {
			if c.long {
				long(t)
			}
			t.Parallel()
			w, s := open(t, c.arch), segment(t)
			n := w.start(t, s, w.stub, qemu.Config{Name: "node"})
			id := up(t, n, lab.Begin, stubVersion)

			walls := []string{"process", "rlimit", "no-new-privileges", "landlock", "seccomp"}
			if c.arch == qemu.ARM64 {
				walls = append(walls, "cgroup memory")
			}
			st := status(t, n)
			for i, wall := range st.Sandbox {
				if strings.HasPrefix(wall, "landlock ") {
					st.Sandbox[i] = "landlock"
				}
			}
			if !slices.Equal(st.Sandbox, walls) {
				t.Errorf("/status says jobs are behind %q, want %q", st.Sandbox, walls)
			}

			answers := map[string]lab.Answer{}
			for _, j := range jobs(t) {
				answers[j.name] = j.on(t, n, id)
				healthy(t, n)
			}
			untroubled(t, n)
			if now := status(t, n); now.Peer != id.Peer {
				t.Errorf("after its jobs the node says %+v", now)
			}
			if restarts := lines(n, `plasmd .*starting again`); restarts > 0 {
				t.Errorf("plasmd was started again %d times", restarts)
			}

			cut := powerCycle(t, n)
			if again := up(t, n, cut, stubVersion); again.Peer != id.Peer || again.Token != id.Token {
				t.Errorf("after a power cut %+v, before it %+v", again, id)
			}
			for name, a := range answers {
				kept, err := n.Receipt(patient(t), id.Token, a.RunID)
				if err != nil || !sameJSON(t, kept, a.Receipt) {
					t.Errorf("%s: the receipt is %s after a power cut, %v", name, kept, err)
				}
			}
		})
	}
}

// work is a job and how it must end.
type work struct {
	name, input string
	module      []byte
	change      func(*job.Job)
	outcome     job.Outcome
	code        int
	stdout      func(string) bool
}

// enough seconds for what ends by itself, before the test's own patience is at
// an end: an emulated machine compiles a module of Go for half a minute, and
// for minutes where others compute beside it.
const enough = 280

func jobs(t *testing.T) []work {
	t.Helper()
	hello, err := os.ReadFile(filepath.Join(build(), "examples", "hello.wasm"))
	if err != nil {
		missing(t, err)
	}
	is := func(text string) func(string) bool { return func(out string) bool { return out == text } }
	small := func(change func(*job.Job)) func(*job.Job) {
		return func(j *job.Job) {
			j.MemoryMB, j.TimeoutSeconds = 16, enough
			if change != nil {
				change(j)
			}
		}
	}
	limit := int64(1 << 20)
	all := []work{
		{"hello", "esahP olleh", hello, func(j *job.Job) { j.TimeoutSeconds = enough }, job.Exited, 0, is("hello Phase")},
		{"reaching for files and sockets", "", []byte(reaching), small(nil), job.Exited, badf + badf, is("")},
		{"spinner", "", []byte(spinner), small(func(j *job.Job) { j.TimeoutSeconds = 1 }), job.Timeout, 124, is("")},
		{"hog", "", []byte(hog), small(nil), job.Memory, 137, is("")},
		{"flood", "", []byte(flood), small(func(j *job.Job) { j.OutputBytes = &limit }), job.Output, 141,
			func(out string) bool { return int64(len(out)) == limit }},
	}
	if os.Getenv("PHASE_TIER") != "all" {
		return all
	}
	// A module of Go, which an emulated machine compiles for half a minute.
	steps := []string{"read /etc/passwd", "read /perm/phase/plasmd/identity.pem", "ls /", "write /tmp/x y", "read /proc/self/environ", "dial"}
	return append(all, work{"files by their names", "", probe(t), func(j *job.Job) { j.Args, j.TimeoutSeconds = append([]string{"steps"}, steps...), enough }, job.Exited, 0,
		func(out string) bool { return strings.Count(out, "refused: ") == len(steps) }})
}

// on has a node do the work, and holds answer and receipt to what they must say.
func (j work) on(t *testing.T, n *lab.Node, id lab.Identity) lab.Answer {
	t.Helper()
	var change []func(*job.Job)
	if j.change != nil {
		change = append(change, j.change)
	}
	a, err := n.Job(patient(t), id.Token, j.module, j.input, change...)
	if err != nil {
		t.Fatalf("%s: %v", j.name, err)
	}
	if a.Outcome != string(j.outcome) || a.ExitCode != j.code || !j.stdout(string(a.Stdout)) {
		t.Errorf("%s: %s %d, %.500q, %.500q", j.name, a.Outcome, a.ExitCode, a.Stdout, a.Stderr)
	}
	key, err := identity.ParsePeerID(id.Peer)
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.Verify(a.Receipt, receipt.Pin{PeerID: id.Peer, Key: key})
	if err != nil {
		t.Fatalf("%s: %v", j.name, err)
	}
	if err := s.CheckStdout(sha256.Sum256(a.Stdout)); err != nil {
		t.Errorf("%s: %v", j.name, err)
	}
	if p := s.Predicate; p.Outcome != j.outcome || int(p.ExitCode) != j.code || p.ModuleHash != job.Hash(j.module) || p.RunID != a.RunID {
		t.Errorf("%s: the receipt says %+v", j.name, p)
	}
	return a
}

// probe is the module that the tests of the job layer run.
func probe(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "probe.wasm")
	build := exec.CommandContext(patient(t), "go", "build", "-ldflags=-s -w", "-o", file, "phase/tests/guests/probe")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the probe: %v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
