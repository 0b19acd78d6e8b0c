package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/updates"
	"phase/appliance/machine/exchange"
	"phase/appliance/machine/settings"
	"phase/appliance/release/operator"
	"phase/tests/await"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// operated is a node whose programs run, but for init.
type operated struct {
	dir, socket string
	id          string // peer id
	address     string // of its peer
	next        string // the digest of version 7
}

// startOperated starts plasmd and update as init does, for a node that runs version
// 1 and has a provider of version 7.
func startOperated(t *testing.T, admin, canary string) operated {
	t.Helper()
	n := operated{dir: t.TempDir()}
	n.socket = filepath.Join(n.dir, "plasmd", "plasmd.sock")
	signer := storetest.NewSigner(t)
	served := t.TempDir()
	next := signer.Release(t, "stable", names.RunningArch(), 7, storetest.Sizes)
	n.next = next.Digest().String()
	signer.Write(t, served, next)
	provider := start(t, "plasmd", "serve", "-a", served, "-p", "0", "-b", "127.0.0.1", "--no-mdns", "--no-dht")
	at := provider.wait(`^serving http on (\S+)$`)
	provider.wait(`^holds release stable/\S+ version 7 `)

	root, boot := filepath.Join(n.dir, "root.json"), filepath.Join(n.dir, "boot")
	for _, folder := range []string{boot, filepath.Join(n.dir, "plasmd"), filepath.Join(n.dir, "perm")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, root, signer.Root.Raw())
	running := signer.Release(t, "stable", names.RunningArch(), 1, storetest.Sizes)
	write(t, filepath.Join(boot, "manifest.json"), running.Envelope())
	o := settings.Default()
	o.Provider, o.Window, o.Admin, o.Canary = []string{"http://" + at}, settings.Never, admin, canary
	text, err := strictjson.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	held := &statefile.Held{Manifest: filepath.Join(boot, "manifest.json"), Artifacts: map[string]string{}}
	for name, data := range running.Bytes {
		held.Artifacts[name] = filepath.Join(boot, name)
		write(t, held.Artifacts[name], data)
	}
	b := statefile.Boot{
		Mode: string(o.Mode), Options: strictjson.Raw(text), BootedFrom: statefile.FromStub, Watchdog: "none",
		Data: filepath.Join(n.dir, "plasmd"), Held: held, Started: time.Now(), OptionsUnknown: []string{}, Problems: []string{},
	}
	if err := statefile.Write(n.dir, statefile.BootFile, b); err != nil {
		t.Fatal(err)
	}
	const quic = "/ip4/127.0.0.1/udp/0/quic-v1"
	daemon := start(t, "plasmd", "start", "--state", n.dir, "--root", root, "--data", filepath.Join(n.dir, "plasmd"), "--socket", n.socket,
		"--store", filepath.Join(n.dir, "perm", "store"), "--http", "127.0.0.1:0", "--listen", quic)
	n.id = daemon.wait(`^peer (\S+)$`)
	http := "http://" + daemon.wait(`^serving http on (\S+)$`)
	start(t, "update", "--state", n.dir, "--root", root, "--daemon", http, "--socket", n.socket,
		"--store", filepath.Join(n.dir, "perm", "store"), "--boot", boot)
	if err := await.Until(t.Context(), func() bool {
		var status struct{ Network struct{ Addresses []string } }
		if err := json.Unmarshal(get(t, http+"/status"), &status); err != nil || len(status.Network.Addresses) == 0 {
			return false
		}
		n.address = status.Network.Addresses[0]
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// laptop is a daemon that is no node, a peer of another one.
type laptop struct{ dir, socket, id string }

func startLaptop(t *testing.T, dir, peer string) laptop {
	t.Helper()
	l := laptop{dir: dir, socket: filepath.Join(dir, "plasmd.sock")}
	p := start(t, "plasmd", "start", "--state", dir, "--root", filepath.Join(dir, "none"), "--data", dir, "--socket", l.socket,
		"--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--peer", peer)
	l.id = p.wait(`^peer (\S+)$`)
	return l
}

// ask runs `plasmd update …` and returns what it prints and complains of.
func ask(t *testing.T, args ...string) (stdout, stderr string, ok bool) {
	t.Helper()
	cmd := command(append([]string{"plasmd", "update"}, args...)...)
	var out, complaints strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	return out.String(), complaints.String(), err == nil
}

// report asks by the command line until the report is as wanted.
func report(t *testing.T, want func(operator.Report) bool, args ...string) operator.Report {
	t.Helper()
	var u api.Updated
	var last string
	if err := await.Until(t.Context(), func() bool {
		out, complaint, ok := ask(t, append([]string{"status", "--json"}, args...)...)
		last = out + complaint
		return ok && json.Unmarshal([]byte(out), &u) == nil && want(u.Report)
	}); err != nil {
		t.Fatalf("%v: %s", err, last)
	}
	return u.Report
}

// TestOperator: an admin looks after a node from afar; the holder of the token, a
// stranger, and a plasmd that was taken over cannot.
func TestOperator(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	dir := t.TempDir()
	admin, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := startOperated(t, admin.PeerID(), "")
	far := startLaptop(t, dir, n.address)
	stranger := startLaptop(t, t.TempDir(), n.address)

	r := report(t, func(r operator.Report) bool { return r.Waiting != nil }, "--socket", n.socket)
	if r.Waiting.Version != 7 || !strings.Contains(r.Waiting.Why, "never") || r.Node != n.id || r.Running.Version != 1 || r.Admins != admin.PeerID() {
		t.Errorf("here: %+v", r)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"the token's holder": {[]string{"hold", "--socket", n.socket}, "takes orders from its admins alone"},
		"a stranger":         {[]string{"hold", "--socket", stranger.socket, "--on", n.id}, "is no admin of this node"},
		"who looks":          {[]string{"status", "--socket", stranger.socket, "--on", n.id}, "is no admin of this node"},
		"a laptop":           {[]string{"status", "--socket", far.socket}, "not part of a node"},
		"no peer id":         {[]string{"hold", "--socket", far.socket, "--on", "x"}, "--on"},
	} {
		if out, complaint, ok := ask(t, c.args...); ok || !strings.Contains(complaint, c.says) {
			t.Errorf("%s: %s%s", name, out, complaint)
		}
	}
	if r := report(t, func(operator.Report) bool { return true }, "--socket", n.socket); r.Held != nil {
		t.Errorf("held by %+v", r.Held)
	}

	if out, complaint, ok := ask(t, "hold", "--socket", far.socket, "--on", n.id); !ok || !strings.Contains(out, "held on version 1") {
		t.Errorf("the admin holds: %s%s", out, complaint)
	}
	r = report(t, func(r operator.Report) bool { return r.Held != nil }, "--socket", far.socket, "--on", n.id)
	if r.Held.Version != 1 || r.Held.By != admin.PeerID() {
		t.Errorf("held: %+v", r.Held)
	}
	if out, complaint, ok := ask(t, "check", "--socket", n.socket); !ok || !strings.Contains(out, "1 provider asked") || !strings.Contains(out, "version 7 is there") {
		t.Errorf("the token's holder checks: %s%s", out, complaint)
	}
	takenOver(t, n, admin)

	// Held, and out of the window: the admin's order goes before. These bytes are no
	// kernel, so it ends when they are loaded.
	if out, complaint, ok := ask(t, "apply", "--socket", far.socket, "--on", n.id); ok || !strings.Contains(complaint, "taking version 7") || !strings.Contains(complaint, "version 7 was not taken") {
		t.Errorf("the admin applies: %s%s", out, complaint)
	}
	r = report(t, func(r operator.Report) bool { return r.Applying != nil && r.Applying.Why != "" }, "--socket", n.socket)
	if r.Held == nil || r.Held.Version != 1 {
		t.Errorf("held after it: %+v", r.Held)
	}
	if out, complaint, ok := ask(t, "hold", "--off", "--socket", far.socket, "--on", n.id); !ok {
		t.Errorf("the admin lets go: %s%s", out, complaint)
	}
	if r := report(t, func(operator.Report) bool { return true }, "--socket", n.socket); r.Held != nil {
		t.Errorf("held by %+v", r.Held)
	}
	if _, complaint, ok := ask(t, "rollback", "--socket", far.socket, "--on", n.id); ok || !strings.Contains(complaint, "no older release") {
		t.Errorf("the admin goes back: %s", complaint)
	}
}

// takenOver asks update as a plasmd does that somebody has taken over: with orders
// that it was given, or made itself.
func takenOver(t *testing.T, n operated, admin identity.Identity) {
	t.Helper()
	forger, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	order := func(id identity.Identity, node, do string, challenge []byte) []byte {
		if challenge == nil {
			var a operator.Answer
			if err := exchange.Ask(t.Context(), operator.SocketIn(n.dir), operator.Question{Do: operator.Challenge}, &a, operator.MaxAnswer); err != nil || a.Refused != nil {
				t.Fatalf("no challenge: %v, %v", err, a.Refused)
			}
			challenge = a.Challenge
		}
		data, err := operator.Order{Node: node, Do: do, Challenge: challenge}.Sign(id.Sign)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put := func(q operator.Question) error {
		_, err := updates.Ask(t.Context(), operator.SocketIn(n.dir), q)
		return err
	}
	used := order(admin, n.id, operator.Status, nil)
	if err := put(operator.Question{Order: used}); err != nil {
		t.Errorf("an order of the admin: %v", err)
	}
	for name, c := range map[string]struct {
		q    operator.Question
		says string
	}{
		"its own":          {operator.Question{Order: order(forger, n.id, operator.Resume, nil)}, "no admin of this node has signed"},
		"without an order": {operator.Question{Do: operator.Resume}, "admins alone"},
		"a disk":           {operator.Question{Do: operator.Install, Disk: "/dev/sda", Erase: "/dev/sda"}, "admins alone"},
		"all that is kept": {operator.Question{Do: operator.Reset, Erase: n.id}, "admins alone"},
		"one again":        {operator.Question{Order: used}, "was here before"},
		"an old one":       {operator.Question{Order: order(admin, n.id, operator.Resume, bytes.Repeat([]byte{1}, operator.ChallengeBytes))}, "no challenge that this node waits for"},
		"another node's":   {operator.Question{Order: order(admin, forger.PeerID(), operator.Resume, nil)}, "the order is for"},
	} {
		if err := put(c.q); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r := report(t, func(operator.Report) bool { return true }, "--socket", n.socket); r.Held == nil {
		t.Error("a forged order let go of the hold")
	}
}

// TestOnlyAdminsDestroy: a node without admins erases nothing, whoever asks: its
// plasmd may have been taken over.
func TestOnlyAdminsDestroy(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	n := startOperated(t, "", "")
	report(t, func(operator.Report) bool { return true }, "--socket", n.socket) // it answers
	for _, q := range []operator.Question{
		{Do: operator.Install, Disk: "/dev/sda", Erase: "/dev/sda"}, {Do: operator.Reset, Erase: n.id},
	} {
		if _, err := updates.Ask(t.Context(), operator.SocketIn(n.dir), q); err == nil || !strings.Contains(err.Error(), "order of an admin") {
			t.Errorf("%s: %v", q.Do, err)
		}
	}
}

// TestCanary: a node hears which releases did not come up at its peers, and holds one
// back that did not at a peer of its operator's list.
func TestCanary(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	netlab.Raise(t, "lo")
	dir := t.TempDir()
	canary, err := identity.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := startOperated(t, "", canary.PeerID())
	for _, at := range []string{dir, t.TempDir()} { // the canary's, and a stranger's
		failed := statefile.Update{State: "off", Failed: []statefile.Failed{{Version: 7, Digest: n.next, Tries: 2, Reason: "it hung"}}, History: []statefile.Attempt{}}
		says := statefile.UpdateFolder(at)
		if err := errors.Join(os.MkdirAll(says, 0o755), statefile.Write(says, statefile.UpdateFile, failed)); err != nil {
			t.Fatal(err)
		}
		startLaptop(t, at, n.address)
	}
	r := report(t, func(r operator.Report) bool { return len(r.Failures) == 2 }, "--socket", n.socket)
	if first := r.Failures[0]; !first.Counts || first.Peer != canary.PeerID() || first.Digest != n.next || first.Reason != "it hung" || r.Failures[1].Counts {
		t.Errorf("failures: %+v", r.Failures)
	}
	if out, complaint, ok := ask(t, "check", "--socket", n.socket); !ok || !strings.Contains(out, "did not come up at "+canary.PeerID()) {
		t.Errorf("check: %s%s", out, complaint)
	}
	if out, complaint, ok := ask(t, "hold", "--socket", n.socket); !ok || !strings.Contains(out, "held on version 1") {
		t.Errorf("the token's holder, where no admin is named: %s%s", out, complaint)
	}
	client := api.NewClient(n.socket)
	if left, err := client.Drain(t.Context(), time.Minute); err != nil || left != 0 {
		t.Errorf("draining: %d jobs are left, %v", left, err)
	}
	if err := client.Undrain(t.Context()); err != nil {
		t.Error(err)
	}
}
