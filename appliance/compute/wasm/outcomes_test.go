package wasm

import (
	"strings"
	"testing"

	"phase/appliance/compute/job"
)

// ending makes a module of sections, and of a function with this body, which has
// the number 1 behind proc_exit, and the type () like a function numbered 2 that
// does nothing.
func ending(body string, sections ...string) []byte {
	code := "\x0a" + sized("\x02"+sized("\x00"+body+"\x0b")+sized("\x00\x0b"))
	all := []string{
		"\x01" + sized("\x02\x60\x00\x00"+ofExit),
		"\x02" + sized("\x01"+imported(wasiName, "proc_exit", "\x00\x01")),
		"\x03" + sized("\x02\x00\x00"),
	}
	after := ""
	for _, s := range sections {
		if s[0] == dataSection {
			after += s
		} else {
			all = append(all, s)
		}
	}
	return []byte(header + strings.Join(all, "") + code + after)
}

// TestOutcomes: how a run ended is known whatever the library's words for it
// are. Another version of wazero that breaks this makes the test fail.
func TestOutcomes(t *testing.T) {
	const (
		memory  = "\x05\x03\x01\x00\x01" // of one page
		table   = "\x04\x04\x01\x70\x00\x01"
		command = "\x07\x0a\x01\x06_start\x00\x01"
		reactor = "\x07\x0f\x01\x0b_initialize\x00\x01"
		begins  = "\x08\x01\x01" // the start function
		tag     = "\x0d\x03\x01\x00\x00"
	)
	trapped := End{Outcome: job.Trapped}
	exited := func(code int) End { return End{Outcome: job.Exited, Code: uint32(code)} }
	for _, c := range []struct {
		name   string
		want   End
		module []byte
	}{
		{"nothing to run", exited(0), ending("\x00")},
		{"a command that returns", exited(0), ending("", command)},
		{"a reactor that returns", exited(0), ending("", reactor)},
		{"a command that leaves", exited(7), ending("\x41\x07\x10\x00", command)},
		{"a reactor that leaves", exited(7), ending("\x41\x07\x10\x00", reactor)},
		{"a start function that leaves", exited(7), ending("\x41\x07\x10\x00", begins)},
		{"a start function that leaves with 0", exited(0), ending("\x41\x00\x10\x00", begins)},
		{"the largest code", exited(1<<32 - 1), ending("\x41\x7f\x10\x00", command)},
		{"unreachable", trapped, ending("\x00", command)},
		{"unreachable in the start function", trapped, ending("\x00", begins)},
		{"a division by zero", trapped, ending("\x41\x01\x41\x00\x6d\x1a", command)},
		{"a quotient that is too large", trapped, ending("\x41\x80\x80\x80\x80\x78\x41\x7f\x6d\x1a", command)},
		{"no number as an integer", trapped, ending("\x43\x00\x00\xc0\x7f\xa8\x1a", command)},
		{"endless recursion", trapped, ending("\x10\x01", command)},
		{"a read outside of memory", trapped, ending("\x41\x7f\x28\x02\x00\x1a", memory, command)},
		{"data outside of memory", trapped, ending("", memory, command, "\x0b\x0a\x01\x00\x41\xff\xff\x03\x0b\x02ab")},
		{"elements outside of the table, which wazero leaves out", exited(0), ending("", table, command, "\x09\x07\x01\x00\x41\x01\x0b\x01\x02")},
		{"a call of an empty element", trapped, ending("\x41\x00\x11\x00\x00", table, command)},
		{"a call of no element", trapped, ending("\x41\x05\x11\x00\x00", table, command)},
		{"a call by another type", trapped, ending("\x41\x00\x41\x00\x11\x01\x00", table, command, "\x09\x07\x01\x00\x41\x00\x0b\x01\x02")},
		{"an exception that nothing catches", trapped, ending("\x08\x00", tag, command)},
		{"memory that may grow", exited(1), ending("\x41\x01\x40\x00\x10\x00", memory, command)},
		{"memory that may not grow", exited(1<<32 - 1), ending("\x41\x11\x40\x00\x10\x00", memory, command)},
		{"too much memory to begin with", End{Outcome: job.Memory}, ending("", "\x05\x03\x01\x00\x11", command)},
		{"all the memory a module can have", End{Outcome: job.Memory}, ending("", "\x05\x05\x01\x00\x80\x80\x04", command)},
	} {
		end := run(t, c.module)
		if (end.Outcome == job.Exited) != (end.Detail == "") || strings.Contains(end.Detail, "\n") {
			t.Errorf("%s: it ended as %s for the reason %q", c.name, end.Outcome, end.Detail)
		}
		if end.Detail = ""; end != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, end, c.want)
		}
	}
}

// run compiles a module and runs it twice, in 1 MiB of memory: it ends the same
// way each time.
func run(t *testing.T, module []byte) End {
	t.Helper()
	compiled, err := Compile(t.Context(), module)
	if err != nil {
		t.Fatalf("% x: %v", module, err)
	}
	m, err := Load(t.Context(), module, compiled, 1)
	if err != nil {
		t.Fatal(err)
	}
	first, err := m.Run(t.Context(), nowhere(t))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.Run(t.Context(), nowhere(t)); err != nil || again != first {
		t.Errorf("it ended as %+v, and then as %+v, %v", first, again, err)
	}
	return first
}
