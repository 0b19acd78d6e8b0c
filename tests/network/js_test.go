package network

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/record"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// jsFiles are the sources of the peer in JavaScript.
var jsFiles = []string{"package.json", "package-lock.json", "polyfill.mjs", "peer.mjs"}

// javaScript returns the folder of the peer in JavaScript, with the packages
// that it needs. Where they cannot be had the test is skipped; under make it
// fails, as with other tools.
func javaScript(t testing.TB) string {
	t.Helper()
	cannot := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			cannot("%v; Debian has it in the packages nodejs and npm", err)
		}
	}
	dir, err := filepath.Abs(filepath.Join(binFolder, "js"))
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range jsFiles {
		data, err := os.ReadFile(filepath.Join("js", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(dir, "installed") // the list of what is
	if was, _ := os.ReadFile(installed); bytes.Equal(was, lock) {
		return dir
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		cannot("the packages of tests/network/js/package-lock.json cannot be had from the registry of npm: %v: %s", err, out)
	}
	if err := os.WriteFile(installed, lock, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Another implementation of libp2p dials a node, identifies and pings it, and gets
// the record of a release from the DHT, which verifies.
func TestJavaScript(t *testing.T) {
	if !all() {
		t.Skip("it needs node and packages of npm: PHASE_TIER=all runs it")
	}
	t.Parallel()
	netlab.NeedRoot(t)
	js := javaScript(t)
	on := newLAN(t)
	a, _ := onLAN(t, on, 1)
	provider, stranger := netlab.NewMachine(t, "provider"), netlab.NewMachine(t, "stranger")
	on.Join(t, provider, "eth0", "192.168.7.2/24")
	on.Join(t, stranger, "eth0", "192.168.7.3/24")
	signer, dir := storetest.NewSigner(t), t.TempDir()
	release := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	signer.Write(t, dir, release)
	provider.Start(t, netlab.Program{Path: plasmd(t), Quiet: true, Args: []string{
		"serve", "--artifacts", dir, "--no-mdns", "--bootstrap", a.address("192.168.7.1"),
	}})
	want, err := record.Make(signer.Chain, release.Envelope(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := stranger.Run(netlab.Program{Path: "node", Dir: js, Args: []string{
		"--import", "./polyfill.mjs", "peer.mjs", "/ip4/192.168.7.1/tcp/7420/p2p/" + a.id, want.Key().String(),
	}})
	var is struct {
		Peer, Encryption, Multiplexer, Agent string
		Protocols                            []string
		Milliseconds                         float64
		Value                                []byte
	}
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &is)
	}
	if err != nil {
		t.Fatalf("%v: %s\n%s\n%s", err, stdout, stderr, strings.Join(a.Lines(), "\n"))
	}
	if is.Peer != a.id || is.Encryption != "/noise" || is.Multiplexer != "/yamux/1.0.0" || !strings.HasPrefix(is.Agent, "phase/") ||
		!slices.Contains(is.Protocols, "/phase/kad/1.0.0") || !slices.Contains(is.Protocols, "/phase/job/1.0.0") || is.Milliseconds < 0 {
		t.Errorf("it says of the node: %+v", is)
	}
	got, err := record.Parse(want.Key(), is.Value, time.Now())
	if err != nil || got.Version() != 7 || got.Digest() != want.Digest() {
		t.Errorf("the record is %q, %v", is.Value, err)
	}
}
