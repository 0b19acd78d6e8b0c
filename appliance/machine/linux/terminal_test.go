package linux

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty returns the side of a new pseudo terminal that a person sits at, and the
// path of the other.
func pty(t *testing.T) (*os.File, string) {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fd := int(f.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return f, fmt.Sprintf("/dev/pts/%d", n)
}

// TestTerminal: a key is there without Enter and not shown, what was typed before
// is not, a read can be ended, and the terminal is left as it was.
func TestTerminal(t *testing.T) {
	person, path := pty(t)
	other, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) // keeps its settings
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	before, err := unix.IoctlGetTermios(int(other.Fd()), unix.TCGETS)
	if err != nil || before.Lflag&unix.ICANON == 0 || before.Lflag&unix.ECHO == 0 {
		t.Fatalf("a new terminal has %+v, %v", before, err)
	}
	if _, err := person.WriteString("1\n"); err != nil {
		t.Fatal(err)
	}
	term, err := openTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	if term.Name() != path {
		t.Errorf("its name is %s", term.Name())
	}
	if _, err := person.WriteString("2"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := term.Read(b); err != nil || string(b[:n]) != "2" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if err := term.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Errorf("reading it cannot be ended: %v", err)
	}
	if _, err := term.Read(b); !os.IsTimeout(err) {
		t.Errorf("after the deadline: %v", err)
	}
	if _, err := term.Write([]byte("x\n")); err != nil {
		t.Error(err)
	}
	shown := bufio.NewReader(person) // with the 1 of before, and without the 2
	for _, want := range []string{"1\r\n", "x\r\n"} {
		if got, err := shown.ReadString('\n'); got != want || err != nil {
			t.Errorf("the terminal shows %q, %v; want %q", got, err, want)
		}
	}
	if err := term.Close(); err != nil {
		t.Error(err)
	}
	if after, err := unix.IoctlGetTermios(int(other.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("it had %+v, and has %+v, %v", before, after, err)
	}
}

// TestNoTerminal: what is no terminal, or not there, is refused by name.
func TestNoTerminal(t *testing.T) {
	for _, path := range []string{"/dev/null", "/dev/no-terminal"} {
		if term, err := openTerminal(path); err == nil {
			t.Errorf("%s is a terminal", path)
			term.Close()
		}
	}
}
