package attacks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/tests/hostile"
	"phase/tests/storetest"
)

// programVar names a binary to attack instead of one that is built here: a mutant.
const programVar = "PHASE_ATTACKS_PROGRAM"

// built builds the binary as `make build` does.
var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(programVar); path != "" {
		return path, nil
	}
	return build("phase")
})

// build builds the binary under a name, with more arguments for go build.
func build(name string, more ...string) (string, error) {
	path, err := filepath.Abs(filepath.Join("../../build/tests/attacks", name))
	if err != nil {
		return "", err
	}
	args := append([]string{"build", "-ldflags=-s -w", "-o", path}, more...)
	command := exec.Command("go", append(args, "phase/programs/phase")...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building it: %w: %s", err, out)
	}
	return path, nil
}

// lookAtSources has the test cache see what the programs are made of: it knows
// the folders this process reads, not what go build does.
func lookAtSources(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"appliance", "programs"} {
		err := filepath.WalkDir("../../"+dir, func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// phase is the path of the binary.
func phase(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ended is a program that has ended.
type ended struct {
	stdout, stderr string
	code           int
}

// said is the last line that the program printed, for the table.
func (e ended) said() string {
	text := strings.TrimSpace(e.stderr)
	if text == "" {
		text = strings.TrimSpace(e.stdout)
	}
	return fmt.Sprintf("%s [exit %d]", lastLine(text), e.code)
}

// longest is how long a program that ends by itself may take: more than any
// provider is waited for.
const longest = 45 * time.Second

// call runs a program of the binary to its end.
func call(t testing.TB, args ...string) ended {
	t.Helper()
	command := exec.Command(phase(t), args...)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(longest, func() { command.Process.Kill() })
	defer timer.Stop()
	err := command.Wait()
	e := ended{out.String(), problems.String(), 0}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		e.code = exit.ExitCode() // -1 when it was killed
	} else if err != nil {
		t.Fatal(err)
	}
	return e
}

// decode reads the JSON that a program printed.
func (e ended) decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.stdout), v); err != nil {
		t.Fatalf("it printed %q and %q, and ended with %d: %v", e.stdout, e.stderr, e.code, err)
	}
}

// oneOf says whether a code is one of several with bars between them.
func oneOf(code, codes string) bool { return slices.Contains(strings.Split(codes, "|"), code) }

// The releases that the rows are about.
const (
	runningVersion = 10
	nextVersion    = 20
)

// project is a fleet with its keys: what its nodes run, and what they should
// take.
type project struct {
	*storetest.Signer
	made          hostile.Made
	running, next storetest.Release
}

// newProject makes one. Its releases are for the machine the tests run on.
func newProject(t testing.TB) *project {
	t.Helper()
	stranger := storetest.NewSigner(t)
	p := &project{Signer: storetest.NewSigner(t)}
	p.running = p.Release(t, "stable", names.RunningArch(), runningVersion, storetest.Sizes)
	p.next = p.Release(t, "stable", names.RunningArch(), nextVersion, storetest.Sizes)
	p.made = hostile.Made{Running: p.running.Manifest(), Next: open(p.next), Seal: p.Seal, Forge: stranger.Seal}
	return p
}

// open is a release as all may have it.
func open(r storetest.Release) hostile.Release {
	return hostile.Release{Manifest: r.Manifest(), Envelope: r.Envelope(), Artifacts: r.Bytes}
}

// write writes a file of the test's own and returns its path.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve has a hostile provider answer on a listener until the test ends.
func serve(t testing.TB, l net.Listener, s hostile.Serve) string {
	t.Helper()
	held := &holding{Listener: l, conns: map[net.Conn]bool{}}
	var served sync.WaitGroup
	served.Go(func() { s(held) })
	t.Cleanup(func() {
		held.close()
		served.Wait()
	})
	return "http://" + l.Addr().String()
}

// loopback listens on a port of the loopback.
func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// holding remembers connections, so that those still open end with the listener.
type holding struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (h *holding) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[c] = true
	return c, nil
}

func (h *holding) close() {
	h.Listener.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		c.Close()
	}
}

func has(text, part string) bool { return strings.Contains(text, part) }

// lastLine is the last line of a text.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
