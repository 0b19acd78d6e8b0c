package browser

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/compute/job"
	"phase/appliance/daemon/api"
	"phase/tests/barenode"
	"phase/tests/hostile"
	"phase/tests/netlab"
	"phase/tests/nodes"
	"phase/tests/storetest"
)

// start is what init would have written: there is none here.
var start = []statefile.Step{
	{Name: "kernel", Length: 2.106}, {Name: "mounts", Begin: 2.108, Length: 0.061}, {Name: "kernel settings", Begin: 2.17, Length: 0.012},
	{Name: "boot disk", Begin: 2.183, Length: 0.214}, {Name: "settings", Begin: 2.397, Length: 0.009}, {Name: "wired interfaces", Begin: 2.407, Length: 0.087},
	{Name: "release", Begin: 2.495, Length: 0.143}, {Name: "persistent partition", Begin: 2.641, Length: 0.318}, {Name: "watchdog", Begin: 2.96, Length: 0.004},
	{Name: "state", Begin: 2.965, Length: 0.011}, {Name: "control socket", Begin: 2.977, Length: 0.006}, {Name: "newest release", Begin: 2.986, Length: 0.402},
	{Name: "services", Begin: 3.389, Length: 0.021}, {Name: "plasmd starts", Begin: 3.389, Length: 1.48}, {Name: "net starts", Begin: 4.87, Length: 0.52},
	{Name: statefile.ServingStep, Begin: 3.41, Length: 2.21},
}

// The versions of the releases.
const (
	running = 10
	next    = 20
)

// site is a node with its page open, and who else is on its segment.
type site struct {
	*barenode.Node
	wire   *netlab.Switch
	signer *storetest.Signer
	binary string
	origin string // as the browser knows it
	client *api.Client
}

// program builds the one binary as `make build` does.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "phase")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "phase/programs/phase")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building it: %v: %s", err, out)
	}
	return path
}

// settle makes a node, whose owner named a stranger that offers a forged release.
// For a picture nothing of it is made up.
func settle(t *testing.T, picture bool) *site {
	t.Helper()
	s := &site{wire: netlab.NewSwitch(t, "segment", netlab.Wire{}), signer: storetest.NewSigner(t), binary: program(t)}
	release := func(version uint64) storetest.Release {
		return s.signer.Release(t, "stable", names.RunningArch(), version, storetest.Sizes)
	}
	now, later := release(running), release(next)
	made := hostile.Made{
		Running: now.Manifest(), Next: hostile.Release{Manifest: later.Manifest(), Envelope: later.Envelope(), Artifacts: later.Bytes},
		Seal: s.signer.Seal, Forge: storetest.NewSigner(t).Seal,
	}
	stranger := netlab.NewMachine(t, "stranger")
	s.wire.Join(t, stranger, "eth0", "10.9.0.3/24")
	var l net.Listener
	stranger.Do(t, func() (err error) {
		l, err = net.Listen("tcp", "10.9.0.3:8080")
		return err
	})
	t.Cleanup(func() { l.Close() })
	go hostile.Named(hostile.All(t, made), "unknown-keys")[0].Serve(l)

	c := barenode.Config{Program: s.binary, Signer: s.signer, Running: now, Steps: start, Providers: []string{"http://10.9.0.3:8080"}}
	if picture {
		c.Steps, c.Memory = nil, true
	}
	s.Node = barenode.New(t, c)
	s.wire.Join(t, s.Machine, "eth0", "10.9.0.2/24")
	s.Start(t)
	s.client = api.NewClient(s.Path("run/phase/plasmd/plasmd.sock"))
	s.origin = Forward(t, func(ctx context.Context) (c net.Conn, err error) {
		err = s.Machine.Try(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:8080")
			return err
		})
		return c, err
	})
	return s
}

// token is what the node prints on its console.
func (s *site) token(t *testing.T) string {
	line := s.Plasmd.Await(t, "its token", func(line string) bool { return strings.HasPrefix(line, "token ") })
	return strings.TrimPrefix(line, "token ")
}

// provider starts an honest provider of the next release on the segment.
func (s *site) provider(t *testing.T) {
	t.Helper()
	m, dir := netlab.NewMachine(t, "honest"), t.TempDir()
	s.wire.Join(t, m, "eth0", "10.9.0.4/24")
	s.signer.Write(t, dir, s.signer.Release(t, "stable", names.RunningArch(), next, storetest.Sizes))
	m.Start(t, netlab.Program{Path: s.binary, Args: []string{"plasmd", "serve", "--artifacts", dir}, Quiet: true})
}

// neighbour starts another node's daemon on the segment.
func (s *site) neighbour(t *testing.T) {
	t.Helper()
	m := netlab.NewMachine(t, "neighbour")
	dir, err := os.MkdirTemp("", "n") // of the test's name a socket's path would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.wire.Join(t, m, "eth0", "10.9.0.5/24")
	config := filepath.Join(dir, "plasmd.toml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.Start(t, netlab.Program{Path: s.binary, Quiet: true, Args: []string{"plasmd", "start", "--config", config, "--socket", filepath.Join(dir, "s"),
		"--data", filepath.Join(dir, "data"), "--state", dir, "--root", filepath.Join(dir, "root.json")}})
}

// work has the node run a module that never ends, until stop is called.
func (s *site) work(t *testing.T) (stop func()) {
	t.Helper()
	// (module (func (export "_start") (loop (br 0))))
	spinner := "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.client.Execute(ctx, nodes.Offer(t, []byte(spinner), nil, func(j *job.Job) { j.TimeoutSeconds = 600 }))
		ended <- err
	}()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the job that was given up: %v", err)
		}
	}
}

// TestPage: while the page of a node is open a job runs, a peer and a release come;
// all of it is read off the page, which asks nobody but the node.
func TestPage(t *testing.T) {
	tab, picture := Open(t), os.Getenv(PictureVar) != ""
	s := settle(t, picture)
	tab.Go(t, s.origin+"/")

	// The start, what runs, and what was refused of whom.
	tab.Reads(t, "#top", "healthy")
	if !picture {
		tab.Reads(t, "#boot", "Serving 5.6 s after the kernel started")
		if n := Value[int](t, tab, `document.querySelectorAll("#boot rect").length`); n != len(start) {
			t.Errorf("the start has %d bars, want %d", n, len(start))
		}
	}
	tab.Reads(t, "#releases", fmt.Sprintf("%d runs", running))
	tab.Reads(t, "#update", "refused")
	tab.Reads(t, "#update", "http://10.9.0.3:8080")
	tab.Reads(t, "#update", "signature")
	tab.Reads(t, "#machine", "Memory: ")
	tab.Reads(t, "#machine", "Disk: ")

	// What is the owner's, by the token alone.
	for _, part := range []string{"#jobs", "#peers", "#taken"} {
		tab.Hidden(t, part)
	}
	tab.Type(t, "#token", strings.Repeat("0", 64))
	tab.Reads(t, "#wrong", "not the token")
	token := s.token(t)
	tab.Type(t, "#token", token)
	tab.Reads(t, "#known", "what the owner sees")
	tab.Reads(t, "#jobs", "None was run yet")

	// All comes by itself from here on: the page is not opened again.
	Value[bool](t, tab, `window.same = true`)
	stop := s.work(t)
	tab.Reads(t, "#jobs", "1 job at work")
	tab.Reads(t, "#jobs", "running")
	if out, err := s.client.Execute(t.Context(), nodes.Offer(t, nodes.Module(t, "phase/tests/guests/cat"), []byte("hello"), nil)); err != nil || string(out.Stdout) != "hello" {
		t.Fatalf("a job on the node: %q, %v", out.Stdout, err)
	}
	tab.Reads(t, "#jobs", "done: exited 0")
	s.neighbour(t)
	tab.Reads(t, "#peers", "direct")
	tab.Pictures(t, "")
	s.provider(t)
	tab.Reads(t, "#update", fmt.Sprintf("failed version %d from http://10.9.0.4:8080", next)) // all of it is there, and no kernel may be loaded
	stop()
	tab.Reads(t, "#jobs", "done: cancelled")
	if !Value[bool](t, tab, `window.same`) {
		t.Error("the page was opened again")
	}
	if got := Value[string](t, tab, `sessionStorage.getItem("phase-token")`); got != token {
		t.Errorf("the tab keeps %q", got)
	}

	// The node is gone, and the page says that it is not up to date any more.
	s.Plasmd.Kill()
	tab.Reads(t, "#live", "Not up to date")
	if list := tab.Elsewhere(s.origin, token); len(list) > 0 || tab.Requests() == 0 {
		t.Errorf("of %d requests these went elsewhere, or have the token: %q", tab.Requests(), list)
	}
	if list := tab.Trouble(); len(list) > 0 {
		t.Errorf("the browser complains: %q", list)
	}
}

// TestPageWithoutScripts: what the page says it says without scripts.
func TestPageWithoutScripts(t *testing.T) {
	tab := Open(t)
	s := settle(t, false)
	s.Update.AwaitText(t, "refused http://10.9.0.3:8080")
	tab.WithoutScripts(t)
	tab.Go(t, s.origin+"/")
	text := tab.Text(t)
	for _, want := range []string{"healthy", "Serving 5.6 s after the kernel started", "refused", "http://10.9.0.3:8080", "Memory: ", "plasmd peers"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	Keep(t, "without-scripts.png", tab.Picture(t, 390, 844, true))
}
