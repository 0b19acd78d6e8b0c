package linux

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Terminal is one that the kernel prints on, opened to be typed at: each key comes
// at once, and is not shown.
type Terminal struct {
	*os.File
	before *unix.Termios
}

// activeConsoles has the names of the terminals that the kernel prints on, tty0
// for the screen that is shown.
const activeConsoles = "/sys/class/tty/console/active"

// OpenTerminals opens the terminals that the kernel prints on, and returns those
// that it could open together with the errors of the others.
func OpenTerminals() (terminals []*Terminal, err error) {
	names, err := os.ReadFile(activeConsoles)
	if err != nil {
		return nil, fmt.Errorf("which consoles there are: %w", err)
	}
	var errs []error
	for _, name := range strings.Fields(string(names)) {
		t, err := openTerminal(filepath.Join("/dev", filepath.Base(name)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		terminals = append(terminals, t)
	}
	return terminals, errors.Join(errs...)
}

// openTerminal opens a terminal without making it that of this process. What was
// typed before is forgotten.
func openTerminal(path string) (*Terminal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t := &Terminal{File: f}
	if err := t.control(func(fd int) (err error) {
		if t.before, err = unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return err
		}
		typed := *t.before
		typed.Lflag &^= unix.ICANON | unix.ECHO | unix.ECHONL | unix.ISIG | unix.IEXTEN
		typed.Iflag &^= unix.IXON | unix.ISTRIP // no key stops the output
		typed.Cc[unix.VMIN], typed.Cc[unix.VTIME] = 1, 0
		return errors.Join(unix.IoctlSetTermios(fd, unix.TCSETS, &typed), unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH))
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return t, nil
}

// Close leaves the terminal as it was.
func (t *Terminal) Close() error {
	return errors.Join(t.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, t.before) }), t.File.Close())
}

// control calls f with the descriptor, which Fd would take out of the poller, and
// its deadlines with it.
func (t *Terminal) control(f func(fd int) error) error {
	conn, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	return errors.Join(conn.Control(func(fd uintptr) { done = f(int(fd)) }), done)
}
