package linux

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// maxLine is what is written of one line: the kernel takes records of up to
// 1 KiB with their prefix (PRINTKRB_RECORD_MAX) and refuses longer ones whole.
const maxLine = 900

// Priority is a syslog level; the kernel shows those below its loglevel=.
type Priority int

// The priorities init uses. With loglevel=6 all three are shown.
const (
	Error   Priority = 3
	Warning Priority = 4
	Notice  Priority = 5
)

// Console writes lines to the kernel's log, and so to every console it prints
// on, serial or screen, in order with the kernel's own lines and with its times.
type Console struct{ file *os.File }

// OpenConsole opens /dev/kmsg for writing. Without it (no /dev) the console is
// stderr, which the kernel opened for PID 1.
func OpenConsole() Console {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return Console{os.Stderr}
	}
	// Otherwise the kernel drops lines of a process that writes more than ten
	// in five seconds.
	_ = os.WriteFile("/proc/sys/kernel/printk_devkmsg", []byte("on\n"), 0) // no /proc: lines may be lost, that is all
	return Console{f}
}

// OpenLog opens the kernel's log for reading, for a program that may not open it
// itself: a read gives one record, and fails with EAGAIN when there is none.
func OpenLog() (*os.File, error) {
	return os.OpenFile("/dev/kmsg", os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// Line writes "name: text" as one record. Control characters become spaces and
// what is too long is cut.
func (c Console) Line(p Priority, name, text string) {
	record := Record(name, text)
	if c.file == nil || c.file == os.Stderr {
		fmt.Fprintln(os.Stderr, record)
		return
	}
	const daemon = 3 << 3 // the facility; user space may not use the kernel's own
	// A console that fails cannot be reported anywhere.
	_, _ = fmt.Fprintf(c.file, "<%d>%s\n", daemon|int(p), record)
}

// Record is the one line that Console.Line writes, without its priority.
func Record(name, text string) string {
	record := name + ": " + text
	if len(record) > maxLine {
		record = strings.ToValidUTF8(record[:maxLine], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(record, "\uFFFD"))
}
