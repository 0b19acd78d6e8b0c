package job

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/jobspec"
)

// exponential returns n functions, each of which calls the next twice.
func exponential(n int) [][]byte {
	var bodies [][]byte
	for i := range n {
		next := byte(i + 1)
		bodies = append(bodies, op(opCall, next, opCall, next))
	}
	return append(bodies, nil)
}

// write is a call of fd_write(1, 0, 1, 8): what the vector at 0 points to.
var write = op(opConst, 1, opConst, 0, opConst, 1, opConst, 8, opCall, 0, opDrop)

// hello is an iovec of 4096 bytes at 16.
var vec = []byte{16, 0, 0, 0, 0, 16, 0, 0}

// hostile is a module and how a run of it may end under a limit of a second,
// 64 MiB of memory, 1 MiB of output and an input that never comes.
type hostile struct {
	name    string
	module  []byte
	outcome []jobspec.Outcome
}

func hostileModules() []hostile {
	const exited, trapped, timeout, memory, output = jobspec.Exited, jobspec.Trapped, jobspec.Timeout, jobspec.Memory, jobspec.Output
	is := func(o ...jobspec.Outcome) []jobspec.Outcome { return o }
	bomb := bytes.Repeat(op(opConst, 1, opDrop), 10<<20/3)
	many := make([][]byte, 20000)
	for i := range many {
		many[i] = op(opConst, 1, opDrop)
	}
	table := func(entries uint64) []byte { return join([]byte{1, 0x70, 0}, uleb(entries)) }
	// A subscription to a clock, an hour from now.
	hour := make([]byte, 48)
	binary.LittleEndian.PutUint64(hour[24:], 3600e9)
	return []hostile{
		{"endless loop", assembled{bodies: [][]byte{forever()}}.bytes(), is(timeout)},
		{"endless loop in the start function", assembled{bodies: [][]byte{forever()}, start: true}.bytes(), is(timeout)},
		{"exponential calls", assembled{bodies: exponential(60)}.bytes(), is(timeout)},
		{"deep recursion", assembled{bodies: [][]byte{op(opCall, 0)}}.bytes(), is(trapped, timeout)},
		{"deep recursion for ever", assembled{bodies: [][]byte{forever(opCall, 1), op(opCall, 1)}}.bytes(), is(trapped, timeout)},
		{"unreachable", assembled{bodies: [][]byte{op(opUnreachable)}}.bytes(), is(trapped)},
		{"unreachable in the start function", assembled{bodies: [][]byte{op(opUnreachable)}, start: true}.bytes(), is(trapped)},
		{"data out of bounds", assembled{memory: pages(0), data: vec}.bytes(), is(trapped)},
		{"memory growth", assembled{memory: pages(1), bodies: [][]byte{forever(opConst, 1, opGrow, 0, opDrop)}}.bytes(), is(timeout)},
		{"one huge allocation", assembled{memory: pages(1), bodies: [][]byte{op(opConst, 0xff, 0xff, 0x03, opGrow, 0, opDrop)}}.bytes(), is(exited)},
		{"writing all memory for ever", assembled{memory: pages(1023), bodies: [][]byte{forever(opConst, 0, opConst, 1, opConst, 0x80, 0x80, 0xfc, 0x1f, 0xfc, 0x0b, 0)}}.bytes(), is(timeout)},
		{"initial memory over the limit", assembled{memory: pages(65 << 4)}.bytes(), is(memory)},
		{"initial memory of 4 GiB", assembled{memory: pages(65536)}.bytes(), is(memory)},
		{"table of 100 million", assembled{tables: table(100_000_000)}.bytes(), is(memory)},
		{"table growth", assembled{tables: table(1), bodies: [][]byte{forever(0xd0, 0x70, opConst, 0x80, 0x80, 0xc0, 0, 0xfc, 0x0f, 0, opDrop)}}.bytes(), is(memory, timeout)},
		{"output flood", assembled{imports: []string{"fd_write"}, memory: pages(1), data: vec, bodies: [][]byte{forever(write...)}}.bytes(), is(output)},
		{"blocking read", assembled{imports: []string{"fd_read"}, memory: pages(1), data: vec, bodies: [][]byte{op(opConst, 0, opConst, 0, opConst, 1, opConst, 8, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"a sleep of an hour", assembled{imports: []string{"poll_oneoff"}, memory: pages(1), data: hour, bodies: [][]byte{op(opConst, 0, opConst, 0x80, 1, opConst, 1, opConst, 0xc0, 0, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"host call storm", assembled{imports: []string{"clock_time_get"}, memory: pages(1), bodies: [][]byte{forever(opConst, 1, 0x42, 0, opConst, 0, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"compile bomb", assembled{bodies: [][]byte{bomb}}.bytes(), is(timeout, memory)},
		{"many functions", assembled{bodies: many}.bytes(), is(exited, timeout)},
		{"nothing at all", assembled{}.bytes(), is(exited)},
	}
}

func TestHostileModules(t *testing.T) {
	for _, c := range hostileModules() {
		t.Run(c.name, func(t *testing.T) {
			stdin, never, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			defer never.Close()
			h := task(c.module)
			h.Timeout, h.OutputBytes, h.Stdin = time.Second, 1<<20, stdin
			result, stdout, stderr := run(t, h)
			took := result.Finished.Sub(result.Started)
			t.Logf("%s %d after %v: %s", result.Outcome, result.ExitCode, took, result.Detail)
			if !slices.Contains(c.outcome, result.Outcome) || result.ExitCode != result.Outcome.ExitCode(0) {
				t.Errorf("%s %d: %s, want %v", result.Outcome, result.ExitCode, result.Detail, c.outcome)
			}
			if late := took - h.Timeout; late > patience(100*time.Millisecond) {
				t.Errorf("dead %v after its limit", late)
			}
			if len(stdout)+len(stderr) > 1<<20 {
				t.Errorf("%d bytes of output passed the limit of 1 MiB", len(stdout)+len(stderr))
			}
		})
	}
}

// patience is how long something that takes so long on a machine of its own may
// take: make test-hostile holds it to that, and tests among others to five
// times as much.
func patience(alone time.Duration) time.Duration {
	if os.Getenv("PHASE_ALONE") != "" {
		return alone
	}
	return 5 * alone
}

func TestModulesThatCannotRun(t *testing.T) {
	good := assembled{bodies: [][]byte{nil}}.bytes()
	for _, c := range []struct {
		name, problem string
		module        []byte
	}{
		{"nothing", "not a WebAssembly module", nil},
		{"a program", "not a WebAssembly module", []byte("\x7fELF\x02\x01\x01\x00")},
		{"a component", "recompile it for wasip1", []byte("\x00asm\x0d\x00\x01\x00")},
		{"cut off", "compiling the module", good[:len(good)-3]},
		{"garbage", "compiling the module", append(bytes.Clone(good[:8]), 0xff, 0xff, 0xff)},
		{"an unknown import", "recompile it for wasip1", join(good[:8], op(1), sized(vector([][]byte{{0x60, 0, 0}})), op(2), sized(vector([][]byte{join(sized([]byte("env")), sized([]byte("f")), op(0, 0))})))},
	} {
		result, err := Run(t.Context(), Task{Module: c.module, MemoryMB: 1, Timeout: time.Minute, Cores: 1, Stdout: io.Discard, Stderr: io.Discard})
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %+v, %v, want %q", c.name, result, err, c.problem)
		}
	}
}

// TestOverhead: what a module does within its memory limit does not fail for
// want of memory around it.
func TestOverhead(t *testing.T) {
	for name, c := range map[string]struct {
		body []byte
		want jobspec.Outcome
	}{
		"the deepest recursion":   {op(opCall, 0), jobspec.Trapped},
		"compiling 1 MiB of code": {bytes.Repeat(op(opConst, 1, opDrop), 1<<20/3), jobspec.Exited},
		// memory.grow by 15 pages, and memory.fill of all 16 with 1.
		"all of its memory": {op(opConst, 15, opGrow, 0, opDrop, opConst, 0, opConst, 1, opConst, 0x80, 0x80, 0xc0, 0, 0xfc, 0x0b, 0), jobspec.Exited},
	} {
		small := task(assembled{memory: pages(1), bodies: [][]byte{c.body}}.bytes())
		small.MemoryMB = 1
		if result, _, _ := run(t, small); result.Outcome != c.want {
			t.Errorf("%s: %s: %s, want %s", name, result.Outcome, result.Detail, c.want)
		}
	}
}

func TestGrowingIsRefusedByTheModulesOwnReaction(t *testing.T) {
	// Go in the module gives up with its own message and exit code 2.
	result, _, stderr := run(t, probeTask(t, "grow"))
	if result.Outcome != jobspec.Exited || result.ExitCode != 2 || !strings.Contains(stderr, "out of memory") {
		t.Errorf("grow: %+v: %.200s", result, stderr)
	}
}

func TestExitCodesOfModules(t *testing.T) {
	for _, start := range []bool{false, true} {
		for _, code := range []byte{0, 1, 42} {
			module := assembled{imports: []string{"proc_exit"}, memory: pages(1), start: start, bodies: [][]byte{op(opConst, code, opCall, 0)}}.bytes()
			if result, _, _ := run(t, task(module)); result.Outcome != jobspec.Exited || result.ExitCode != uint32(code) {
				t.Errorf("proc_exit(%d), start function %v: %+v", code, start, result)
			}
		}
	}
}
