package plasmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/program"

	"golang.org/x/sys/unix"
)

// terminal opens a terminal and its other end.
func terminal(t *testing.T) (tty, end *os.File) {
	t.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	t.Cleanup(func() { end.Close() })
	var number int
	if err = unix.IoctlSetPointerInt(int(end.Fd()), unix.TIOCSPTLCK, 0); err == nil {
		number, err = unix.IoctlGetInt(int(end.Fd()), unix.TIOCGPTN)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	return tty, end
}

// A person at a terminal is told why a module ended, unless told to be quiet;
// an error is said in any case.
func TestQuiet(t *testing.T) {
	// (module (func unreachable) (start 0))
	trap := filepath.Join(t.TempDir(), "trap.wasm")
	text := "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x08\x01\x00" + "\x0a\x05\x01\x03\x00\x00\x0b"
	if err := os.WriteFile(trap, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, says := range map[string]bool{"": true, "-q ": false, "--quiet ": false} {
		tty, end := terminal(t)
		err := Run(t.Context(), strings.Fields("run "+flag+trap), strings.NewReader(""), io.Discard, tty)
		if err == nil || err.Error() != "exit code 134" {
			t.Errorf("run %s: %v", flag, err)
		}
		if err := tty.Close(); err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(end) // it ends with an error: nobody is at the other end
		if strings.Contains(string(said), "trapped") != says || !says && len(said) > 0 {
			t.Errorf("run %s: a person reads %q", flag, said)
		}
	}
	if code, _, errs := call(t, "", "run", "-q", "/none.wasm"); code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("an error: %d %q", code, errs)
	}
	loud := program.Quiet(slog.LevelError)
	quiet := slog.Default().Handler()
	loud()
	if quiet.Enabled(context.Background(), slog.LevelWarn) || !quiet.Enabled(context.Background(), slog.LevelError) {
		t.Error("warnings are logged, or errors are not")
	}
}
