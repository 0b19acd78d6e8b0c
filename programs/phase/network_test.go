package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/settings"
	"phase/appliance/network/releases"
	"phase/tests/await"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// asProgram makes this test binary the program that its first argument names.
const asProgram = "PHASE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(dispatch(os.Args, os.Stdout, os.Stderr))
	}
	netlab.Main(m, nil)
}

// process is a program of the one binary in a process of its own.
type process struct {
	t  *testing.T
	mu sync.Mutex
	b  bytes.Buffer
}

// Write takes what it prints.
func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(data)
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// wait returns the last group of what it prints.
func (p *process) wait(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	if err := await.Until(p.t.Context(), func() bool { return re.MatchString(p.printed()) }); err != nil {
		p.t.Fatalf("%s: %v in\n%s", pattern, err, p.printed())
	}
	m := re.FindStringSubmatch(p.printed())
	return m[len(m)-1]
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// start starts a program, which is ended with the test.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p, cmd := &process{t: t}, command(args...)
	cmd.Stderr = p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, p.printed())
		}
	})
	return p
}

// get asks a provider.
func get(t *testing.T, url string) []byte {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(url, resp.Status, err)
	}
	return body
}

// A release under the second root is found by processes that trust the first,
// have one peer and no provider on their segment: by discover, through the daemon
// and without it, and by update in the modes that ask beyond the segment; over
// HTTP where the provider's is reached, over a stream where it is not.
func TestFoundBeyondTheSegment(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	served, dir := t.TempDir(), t.TempDir()
	root := filepath.Join(dir, "root.json")
	one.Write(t, served, one.Release(t, "stable", "arm64", 6, storetest.Sizes)) // with the first root
	two.Write(t, served, two.Release(t, "stable", "x86_64", 7, storetest.Sizes))
	write(t, root, one.Root.Raw())
	running := filepath.Join(dir, "manifest.json")
	write(t, running, one.Release(t, "stable", "x86_64", 1, storetest.Sizes).Envelope())

	for _, c := range []struct {
		mode settings.Mode
		bind string // of the provider's HTTP; its peers reach it at 127.0.0.1
	}{{settings.Internet, "127.0.0.1"}, {settings.Internet, "127.0.0.2"}, {settings.Private, "127.0.0.2"}} {
		t.Run(string(c.mode)+" "+c.bind, func(t *testing.T) {
			const quic = "/ip4/127.0.0.1/udp/0/quic-v1"
			provider := start(t, "plasmd", "serve", "-a", served, "-p", "0", "-b", c.bind, "--listen", quic, "--no-mdns")
			id := provider.wait(`^peer (\S+)$`)
			at := "http://" + provider.wait(`^serving http on (\S+)$`)
			provider.wait(`^holds release stable/x86_64 version 7 `)
			var address string
			if err := await.Until(t.Context(), func() bool {
				var status struct{ Network struct{ Addresses []string } }
				if err := json.Unmarshal(get(t, at+"/status"), &status); err != nil || len(status.Network.Addresses) == 0 {
					return false
				}
				address = status.Network.Addresses[0]
				return true
			}); err != nil {
				t.Fatal("the provider does not listen for peers:", err)
			}
			url := releases.StreamURL(id)
			if c.bind == "127.0.0.1" {
				url = at
			}

			state := t.TempDir()
			socket := filepath.Join(state, "s")
			options := settings.Default()
			options.Mode = c.mode
			boot(t, state, options, running)
			daemon := start(t, "plasmd", "start", "--network", string(c.mode), "--state", state, "--data", filepath.Join(state, "data"),
				"--socket", socket, "--root", root, "--http", "127.0.0.1:0", "--bootstrap", address)
			daemon.wait(`^listening on `)
			ask := "http://" + daemon.wait(`^serving http on (\S+)$`)

			update := start(t, "update", "--state", state, "--root", root, "--daemon", ask, "--socket", socket)
			if got := update.wait(`found version 7 \(test\) at (\S+)`); got != url {
				t.Errorf("update found it at %s, want %s", got, url)
			}
			for _, by := range [][]string{{"--socket", socket}, {"--bootstrap", address}} {
				var nodes []struct {
					Version   uint64
					Peer, URL string
				}
				out, err := command(append([]string{"discover", "--root", root, "--json", "--arch", "x86_64"}, by...)...).Output()
				if json.Unmarshal(out, &nodes) != nil || err != nil || len(nodes) != 1 || nodes[0].Version != 7 || nodes[0].Peer != id || nodes[0].URL != url {
					t.Errorf("discover %v: %s, %v; want %s", by, out, err, url)
				}
			}
			if c.mode == settings.Internet && !strings.Contains(string(get(t, ask+"/root/2.json")), "payload") {
				t.Error("the daemon does not hand on the root that it came to know")
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// boot writes what init would.
func boot(t *testing.T, state string, options settings.Options, running string) {
	t.Helper()
	text, err := strictjson.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	err = statefile.Write(state, statefile.BootFile, statefile.Boot{
		Mode: string(options.Mode), Options: text, OptionsUnknown: []string{}, Problems: []string{}, Watchdog: "none",
		Held: &statefile.Held{Manifest: running, Artifacts: map[string]string{}}, Started: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
}
