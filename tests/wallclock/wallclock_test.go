package wallclock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asked is in the environment of this program when it is run to say the date.
const asked = "PHASE_WALLCLOCK_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(asked) {
	case "":
		os.Exit(m.Run())
	case "says":
		// On many threads, and by a program that it starts.
		out, err := exec.Command("date", "-u", "+%Y").Output()
		fmt.Println(time.Now().UTC().Year(), strings.TrimSpace(string(out)), err)
	case "fails":
		os.Exit(3)
	case "hangs":
		fmt.Println("ready")
		select {}
	}
}

func TestRun(t *testing.T) {
	if !Here {
		t.Skip("another date can be given to programs on x86_64 alone")
	}
	at := time.Date(2019, 5, 17, 11, 22, 33, 0, time.UTC)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(ctx context.Context, path string, env string, args ...string) (string, error) {
		t.Helper()
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		err = Run(ctx, Command{Path: path, Args: append([]string{path}, args...), Env: append(os.Environ(), asked+"="+env), Output: out}, at)
		said, readErr := os.ReadFile(out.Name())
		if readErr != nil {
			t.Fatal(readErr)
		}
		return string(said), err
	}
	// A program in Go, with those that it starts, and a program in C by itself.
	if said, err := run(t.Context(), own, "says"); err != nil || said != "2019 2019 <nil>\n" {
		t.Errorf("a Go program says %q, %v", said, err)
	}
	if said, err := run(t.Context(), "/bin/date", "", "-u", "+%Y-%m-%d"); err != nil || said != "2019-05-17\n" {
		t.Errorf("date says %q, %v", said, err)
	}
	if _, err := run(t.Context(), own, "fails"); err == nil || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("a program that fails: %v", err)
	}
	if _, err := run(t.Context(), "/nonexistent", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is not there: %v", err)
	}
	// The end of the context ends it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run(ctx, own, "hangs"); !errors.Is(err, context.Canceled) {
		t.Errorf("a program that hangs: %v", err)
	}
	// This program's own children and clock are its own.
	if out, err := exec.Command("date", "+%Y").Output(); err != nil || string(out) == "2019\n" || time.Now().Year() == 2019 {
		t.Errorf("date says %s here, %v", out, err)
	}
}
