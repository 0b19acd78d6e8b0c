package scheduler

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"phase/appliance/compute/job"
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

// nested opens n blocks, one in the other, and closes them.
func nested(n int, begin ...byte) []byte {
	return join(bytes.Repeat(begin, n), bytes.Repeat(op(opEnd), n))
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
	outcome []job.Outcome
}

// limit is the time a run of it may take: a second for one that may be ended by
// it, and for one that must end by itself what that takes on any machine.
func (h hostile) limit() time.Duration {
	if slices.Contains(h.outcome, job.Timeout) {
		return time.Second
	}
	return 5 * time.Second
}

func hostileModules() []hostile {
	const exited, trapped, timeout, memory, output = job.Exited, job.Trapped, job.Timeout, job.Memory, job.Output
	is := func(o ...job.Outcome) []job.Outcome { return o }
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
		{"tail calls for ever", assembled{bodies: [][]byte{op(0x12, 0)}}.bytes(), is(timeout)},
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
		{"call of an empty table entry", assembled{tables: table(1), bodies: [][]byte{op(opConst, 0, 0x11, 0, 0)}}.bytes(), is(trapped)},
		{"output flood", assembled{imports: []string{"fd_write"}, memory: pages(1), data: vec, bodies: [][]byte{forever(write...)}}.bytes(), is(output)},
		{"blocking read", assembled{imports: []string{"fd_read"}, memory: pages(1), data: vec, bodies: [][]byte{op(opConst, 0, opConst, 0, opConst, 1, opConst, 8, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"a sleep of an hour", assembled{imports: []string{"poll_oneoff"}, memory: pages(1), data: hour, bodies: [][]byte{op(opConst, 0, opConst, 0x80, 1, opConst, 1, opConst, 0xc0, 0, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"host call storm", assembled{imports: []string{"clock_time_get"}, memory: pages(1), bodies: [][]byte{forever(opConst, 1, 0x42, 0, opConst, 0, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"one write of millions of pieces", assembled{imports: []string{"fd_write"}, memory: pages(1023), bodies: [][]byte{forever(opConst, 1, opConst, 0, opConst, 0x80, 0x80, 0x80, 3, opConst, 8, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"random numbers by the 60 MiB", assembled{imports: []string{"random_get"}, memory: pages(1023), bodies: [][]byte{forever(opConst, 0, opConst, 0x80, 0x80, 0x80, 0x1e, opCall, 0, opDrop)}}.bytes(), is(timeout)},
		{"compile bomb", assembled{bodies: [][]byte{bomb}}.bytes(), is(exited, timeout, memory)}, // a fast machine has compiled it in a second
		{"compile bomb of nested blocks", assembled{bodies: [][]byte{nested(5<<20, 0x02, empty)}}.bytes(), is(timeout, memory)},
		{"compile bomb of branches", assembled{bodies: [][]byte{nested(2<<20, opConst, 1, 0x04, empty)}}.bytes(), is(timeout, memory)},
		{"compile bomb of functions", assembled{bodies: slices.Repeat([][]byte{bytes.Repeat(op(opConst, 1, opDrop), 8)}, 300_000)}.bytes(), is(exited, timeout, memory)},
		{"a branch with ten million ways", assembled{bodies: [][]byte{join(op(0x02, empty, opConst, 0, 0x0e), uleb(10<<20), make([]byte, 10<<20+1), op(opEnd))}}.bytes(), is(timeout, memory)},
		{"many functions", assembled{bodies: many}.bytes(), is(exited, timeout)},
		{"nothing at all", assembled{}.bytes(), is(exited)},
	}
}
