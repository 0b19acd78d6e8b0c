package plasmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
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
		{[]string{"start", "--bootstrap", "/ip4/192.0.2.1"}, 2}, // not before there is a DHT
		{[]string{"start", "--peer", "/ip4/192.0.2.1"}, 2},
		{[]string{"start", "--listen", "/ip4/127.0.0.1"}, 2},
		{[]string{"start", "--accept", "all"}, 2},
		{[]string{"execute-job", "--on", "auto", "x.wasm"}, 2},
		{[]string{"execute-job", "--replicas", "2", "x.wasm"}, 2},
		{[]string{"start", "--http", "nonsense", "--data", dir, "--socket", filepath.Join(dir, socketName)}, 2},
		{[]string{"start", "--config", filepath.Join(dir, "none.toml")}, 1},
	} {
		err := Run(t.Context(), c.args, nil, io.Discard, io.Discard)
		if code, _ := program.Code(err); code != c.code {
			t.Errorf("%v ended with %v, want the code %d", c.args, err, c.code)
		}
	}
}

// held lays out a release as a boot disk has it and says so in boot.json.
func held(t *testing.T, signer *storetest.Signer, r storetest.Release, mode string) (args []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	signer.Write(t, dir, r)
	m := r.Manifest()
	at := filepath.Join(dir, m.Channel, m.Arch)
	boot := statefile.Boot{Mode: mode, BootedFrom: statefile.FromStub, Held: &statefile.Held{Manifest: filepath.Join(at, "manifest.json"), Artifacts: map[string]string{}}}
	for name := range r.Bytes {
		boot.Held.Artifacts[name] = filepath.Join(at, layout.FileName(name))
	}
	if err := statefile.Write(dir, statefile.BootFile, boot); err != nil {
		t.Fatal(err)
	}
	return []string{"start", "--http", "127.0.0.1:0", "--state", dir, "--root", filepath.Join(dir, "root", "1.json"), "--socket", filepath.Join(dir, socketName), "--data", filepath.Join(dir, "data")}, at
}

func TestStart(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	args, _ := held(t, signer, r, "internet")
	c, stop := run(t, args...)
	url := "http://" + c.wait(t, serving)
	c.wait(t, `^holds release stable/arm64 version 7 sha256:[0-9a-f]{64}$`)
	peer, token := c.wait(t, `^peer (12D3KooW\w+)$`), c.wait(t, `^token ([0-9a-f]{64})$`)
	if code, data := get(t, url+"/stable/arm64/kernel"); code != 200 || !bytes.Equal(data, r.Bytes["kernel"]) {
		t.Errorf("the kernel is answered %d", code)
	}
	if code, _ := get(t, url+"/v1/jobs"); code != 401 {
		t.Errorf("/v1/jobs without the token is answered %d", code)
	}
	if code, _ := get(t, url+"/health"); code != 200 {
		t.Errorf("/health is answered %d", code)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	again, stop := run(t, args...)
	if p, k := again.wait(t, `^peer (.*)$`), again.wait(t, `^token (.*)$`); p != peer || k != token {
		t.Error("identity and token did not survive a restart")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// A node whose own release cannot be served says so and is a node still.
func TestStartDamaged(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	args, at := held(t, signer, r, "internet")
	if err := os.WriteFile(filepath.Join(at, "vmlinuz"), make([]byte, len(r.Bytes["kernel"])), 0o644); err != nil {
		t.Fatal(err)
	}
	data := args[len(args)-1]
	if err := errors.Join(os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "identity.pem"), []byte("torn"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, stop := run(t, args...)
	url := "http://" + c.wait(t, serving)
	c.wait(t, `^problem: reading the identity: .*damaged`)
	c.wait(t, `^problem: .*\(digest\)$`)
	if code, body := get(t, url+"/health"); code != 503 || !strings.Contains(string(body), "digest") {
		t.Errorf("/health is answered %d %s", code, body)
	}
	if code, _ := get(t, url+"/stable/arm64/manifest.json"); code != 404 {
		t.Errorf("the manifest of a damaged release is answered %d", code)
	}
	if code, body := get(t, url+"/status"); code != 200 || !strings.Contains(string(body), "identity") {
		t.Errorf("/status is answered %d %s", code, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Beside a person, a damaged identity is refused and stays: whoever pinned it
// is not to meet another.
func TestStartWithoutItsIdentity(t *testing.T) {
	dir := t.TempDir()
	data, path := filepath.Join(dir, "data"), filepath.Join(dir, "data", "identity.pem")
	args := []string{"start", "--state", dir, "--data", data, "--socket", filepath.Join(dir, socketName)}
	c, stop := run(t, args...)
	peer := c.wait(t, `^peer (.*)$`)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text, says string
		mode       os.FileMode
	}{
		"torn":               {string(good[:60]), "damaged", 0o600},
		"empty":              {"", "damaged", 0o600},
		"readable by others": {string(good), "chmod 600", 0o644},
	} {
		if err := errors.Join(os.WriteFile(path, []byte(c.text), c.mode), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, stop := run(t, args...)
		err := stop()
		if code, _ := program.Code(err); code != 1 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("%s: it holds %q now, %v", name, text, err)
		}
	}
	if err := errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	again, stop := run(t, args...)
	if p := again.wait(t, `^peer (.*)$`); p != peer {
		t.Errorf("put back, it is %s and was %s", p, peer)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A private node keeps no identity, whatever its folder has, and is not to be
// reached from elsewhere.
func TestStartPrivate(t *testing.T) {
	signer := storetest.NewSigner(t)
	args, _ := held(t, signer, signer.Release(t, "stable", "arm64", 7, storetest.Sizes), "private")
	args[2] = "[::]:0"
	peers := map[string]bool{}
	for range 2 {
		c, stop := run(t, args...)
		c.wait(t, serving)
		peers[c.wait(t, `^peer (.*)$`)] = true
		c.wait(t, `^holds release`)
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	if len(peers) != 2 {
		t.Error("a private node was the same twice")
	}
	if _, err := os.Stat(args[len(args)-1]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a private node wrote to its folder: %v", err)
	}
}

func TestKeptToken(t *testing.T) {
	dir := t.TempDir()
	first, err := keptToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, tokenFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if again, err := keptToken(dir); err != nil || again != first {
		t.Errorf("the token changed: %v", err)
	}
	for name, spoil := range map[string]func() error{
		"torn":               func() error { return os.WriteFile(path, []byte(first[:10]), 0o600) },
		"empty":              func() error { return os.WriteFile(path, nil, 0o600) },
		"readable by others": func() error { return os.Chmod(path, 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		next, err := keptToken(dir)
		if info, statErr := os.Stat(path); err != nil || statErr != nil || next == first || len(next) != 64 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
		first = next
	}
}
