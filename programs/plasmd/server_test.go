package plasmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"phase/appliance/base/program"
	"phase/tests/storetest"
)

// console is what a program prints, to be waited for.
type console struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer
	over bool
}

func newConsole() *console {
	c := &console{}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.cond.Broadcast()
	return c.text.Write(p)
}

func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.cond.Broadcast()
}

// wait returns the first group of the first match, once it is printed.
func (c *console) wait(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if m := re.FindStringSubmatch(c.text.String()); m != nil {
			return m[len(m)-1]
		}
		if c.over {
			t.Fatalf("it ended without printing %s:\n%s", pattern, c.text.String())
		}
		c.cond.Wait()
	}
}

// run starts plasmd and returns its console and its end.
func run(t *testing.T, args ...string) (c *console, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c = newConsole()
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, args, strings.NewReader(""), io.Discard, c)
		c.close()
		ended <- err
	}()
	t.Cleanup(cancel)
	return c, func() error {
		cancel()
		return <-ended
	}
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, data
}

const serving = `^serving http on (127\.0\.0\.1:\d+)$`

func TestServe(t *testing.T) {
	dir := t.TempDir()
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "testing", "arm64", 7, storetest.Sizes)
	signer.Write(t, dir, r)
	c, stop := run(t, "serve", "-a", dir, "-p", "0", "-b", "127.0.0.1", "--no-mdns", "--no-dht")
	url := "http://" + c.wait(t, serving)
	if got := c.wait(t, `^holds release (.*)$`); got != "testing/arm64 version 7 "+r.Digest().String() {
		t.Errorf("it holds %s", got)
	}
	if peer := c.wait(t, `^peer (.*)$`); !strings.HasPrefix(peer, "12D3KooW") {
		t.Errorf("peer %s", peer)
	}
	for path, want := range map[string][]byte{
		"/manifest.json":               r.Envelope(),
		"/testing/arm64/manifest.json": r.Envelope(),
		"/testing/arm64/rootfs":        r.Bytes["rootfs"],
		"/root/1.json":                 signer.Root.Raw(),
	} {
		if code, data := get(t, url+path); code != 200 || !bytes.Equal(data, want) {
			t.Errorf("%s is answered %d with %d bytes", path, code, len(data))
		}
	}
	if code, _ := get(t, url+"/health"); code != 200 {
		t.Errorf("/health is answered %d", code)
	}
	if code, _ := get(t, url+"/v1/jobs"); code != 404 {
		t.Errorf("/v1/jobs of a mere provider is answered %d", code)
	}

	var out bytes.Buffer
	if err := Run(t.Context(), []string{"provider", "list", "-a", url, "--json"}, nil, &out, io.Discard); err != nil {
		t.Error(err)
	}
	var list []struct {
		Channel string
		Version int
		Digest  string
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list) != 1 || list[0].Digest != r.Digest().String() {
		t.Errorf("provider list printed %s, %v", out.Bytes(), err)
	}
	out.Reset()
	if err := Run(t.Context(), []string{"provider", "status", "-a", url}, nil, &out, io.Discard); err != nil || !strings.Contains(out.String(), "healthy") {
		t.Errorf("provider status printed %s, %v", out.String(), err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestServeNothing(t *testing.T) {
	dir := t.TempDir()
	signer, stranger := storetest.NewSigner(t), storetest.NewSigner(t)
	stranger.Write(t, dir, stranger.Release(t, "stable", "x86_64", 7, storetest.Sizes))
	root := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, signer.Root.Raw(), 0o644); err != nil {
		t.Fatal(err)
	}
	c, stop := run(t, "serve", "-a", dir, "-p", "0", "-b", "127.0.0.1", "--no-mdns", "--root", root)
	url := "http://" + c.wait(t, serving)
	c.wait(t, `^problem: stable/x86_64: .*\(signature\)$`)
	c.wait(t, `^problem: .* holds no release that verifies under `)
	if code, _ := get(t, url+"/stable/x86_64/manifest.json"); code != 404 {
		t.Errorf("a stranger's manifest is answered %d", code)
	}
	var out bytes.Buffer
	err := Run(t.Context(), []string{"provider", "status", "-a", url, "--json"}, nil, &out, io.Discard)
	if code, _ := program.Code(err); code != 1 || !strings.Contains(out.String(), `"unhealthy"`) {
		t.Errorf("provider status ended with %v and printed %s", err, out.String())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// somePeer is the id of nobody in particular.
const somePeer = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"

func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"serve", "-a", filepath.Join(dir, "nothing")}, 1},
		{[]string{"serve", "-a", dir}, 1}, // no root
		{[]string{"serve", "-a", dir, "-c", "unstable"}, 2},
		{[]string{"serve", "-a", dir, "-A", "vax"}, 2},
		{[]string{"serve", "-a", dir, "-p", "70000"}, 2},
		{[]string{"provider", "status", "-a", "nowhere"}, 2},
		{[]string{"provider", "status", "-a", "http://127.0.0.1:1"}, 1},
		{[]string{"start", "--bootstrap", "/ip4/192.0.2.1"}, 2}, // no peer id
		{[]string{"start", "--peer", "/ip4/192.0.2.1"}, 2},
		{[]string{"start", "--listen", "/ip4/127.0.0.1"}, 2},
		{[]string{"start", "--accept", "everyone"}, 2},
		{[]string{"start", "--network", "lan"}, 2},
		{[]string{"start", "--network", "off", "--relay"}, 2},
		{[]string{"serve", "-a", dir, "--no-dht", "--listen", "/ip4/127.0.0.1/tcp/0"}, 1}, // no root
		{[]string{"execute-job", "--on", "nobody", "x.wasm"}, 2},
		{[]string{"execute-job", "--replicas", "17", "x.wasm"}, 2},
		{[]string{"execute-job", "--replicas", "2", "--on", somePeer, "x.wasm"}, 2},
		{[]string{"start", "--http", "nonsense", "--data", dir, "--socket", filepath.Join(dir, "plasmd.sock")}, 2},
		{[]string{"start", "--config", filepath.Join(dir, "none.toml")}, 1},
	} {
		err := Run(t.Context(), c.args, nil, io.Discard, io.Discard)
		if code, _ := program.Code(err); code != c.code {
			t.Errorf("%v ended with %v, want the code %d", c.args, err, c.code)
		}
	}
}
