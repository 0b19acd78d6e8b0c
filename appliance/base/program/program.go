// Package program is the edge between a Phase program and the machine that
// runs it: it makes the one context, turns signals into its end, parses the
// command line, and turns an error into an exit code. A program itself is a
// Run function, so tests call it with their own arguments and streams.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Version names the build. The linker sets it (-X phase/appliance/base/program.Version=…);
// a binary built without it says "devel".
var Version = "devel"

// Run is a whole program: it reads args (without the program's name) and its
// three streams, and returns nil, or an error that Main turns into an exit code.
type Run func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error

// Exit codes of every program: 0 is success.
const (
	codeFailed = 1 // refused or failed
	codeUsage  = 2 // the command line could not be used
)

// ErrDone says that the command line asked for nothing but an answer that has
// been printed already (--help, --version). It ends a program with code 0.
var ErrDone = errors.New("done")

// Exit ends a program with Code and prints nothing: whatever there was to say
// has been said.
type Exit struct{ Code int }

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// usageError is an error in the command line itself: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Usagef returns an error that ends a program with exit code 2.
func Usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// Code returns the exit code that err stands for, and whether Main prints it.
func Code(err error) (code int, print bool) {
	var exit Exit
	var usage usageError
	switch {
	case err == nil, errors.Is(err, ErrDone):
		return 0, false
	case errors.As(err, &exit):
		return exit.Code, false
	case errors.As(err, &usage):
		return codeUsage, true
	default:
		return codeFailed, true
	}
}

// Main runs a program with the process's own arguments and streams and ends
// the process. SIGINT, SIGTERM and, unless it is ignored as under nohup, SIGHUP
// end the context; a second one kills.
func Main(name string, run Run) {
	os.Exit(Invoke(name, run, os.Args[1:]))
}

// Invoke is Main for a caller that holds the arguments itself, as the
// multi-call binary does. It returns the exit code.
func Invoke(name string, run Run, args []string) int {
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	// After the first signal the default action comes back, so that a second
	// one ends a program that does not drain.
	context.AfterFunc(ctx, stop)
	slog.SetDefault(slog.New(NewHandler(os.Stderr)))
	err := run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
	code, print := Code(err)
	if print {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		if code == codeUsage {
			fmt.Fprintf(os.Stderr, "%s: try '%s --help'\n", name, name)
		}
	}
	return code
}
