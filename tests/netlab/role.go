package netlab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

const (
	roleVar   = "PHASE_NETLAB_ROLE"
	argsVar   = "PHASE_NETLAB_ARGS"
	signalVar = "PHASE_NETLAB_SIGNAL" // it ends by a signal, not with its input
)

// Role is what a node does. It ends when ctx does; say writes one JSON line
// for the test to wait for.
type Role func(ctx context.Context, args []byte, say func(any)) error

// Main runs the tests of a package, or the role this process was started for.
// Call it from TestMain.
func Main(m *testing.M, roles map[string]Role) {
	name := os.Getenv(roleVar)
	if name == "" {
		os.Exit(m.Run())
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM) // Process.Stop
	go func() {
		io.Copy(io.Discard, os.Stdin) // Node.Stop closes it
		if os.Getenv(signalVar) == "" {
			cancel()
		}
	}()
	var mu sync.Mutex
	encoder := json.NewEncoder(os.Stdout)
	say := func(v any) {
		mu.Lock()
		defer mu.Unlock()
		encoder.Encode(v)
	}
	if err := role(ctx, []byte(os.Getenv(argsVar)), say); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roleEnv has the test's binary do a role.
func roleEnv(t testing.TB, role string, args any) []string {
	t.Helper()
	data, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	return []string{roleVar + "=" + role, argsVar + "=" + string(data)}
}

// Again starts the test's own binary in the machine, for a role that Main knows,
// with args given as JSON. What the role says are lines of its output.
func (m *Machine) Again(t testing.TB, role string, args any) *Process {
	t.Helper()
	return m.Start(t, Program{Name: role, Path: os.Args[0], Env: append(roleEnv(t, role, args), signalVar+"=1")})
}
