package update

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/machine/settings"
	"phase/appliance/release/manifest"
	"phase/appliance/release/rollout"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

// offered is a release with a rollout.
func offered(t *testing.T, percent int) trust.Verified {
	t.Helper()
	var keys []ed25519.PrivateKey
	for range 2 {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	role := func(key ed25519.PrivateKey) trust.RoleSpec {
		return trust.RoleSpec{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
	}
	data, err := trust.SignRoot(trust.RootSpec{
		Version: 1, Expires: time.Now().AddDate(1, 0, 0), Roles: map[string]trust.RoleSpec{trust.RoleRoot: role(keys[0]), trust.RoleRelease: role(keys[1])},
	}, keys[0])
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{
		Version: 9, Name: "test", Channel: "stable", Arch: "x86_64", Created: time.Now(), Expires: time.Now().AddDate(0, 6, 0),
		Rollout: &manifest.Rollout{Percent: percent}, Artifacts: map[string]manifest.Artifact{},
	}
	for _, name := range manifest.Required {
		m.Artifacts[name] = manifest.Artifact{Size: 1, SHA256: names.Sum([]byte(name))}
	}
	signed, err := trust.SignRelease(m, keys[1])
	if err != nil {
		t.Fatal(err)
	}
	v, err := root.VerifyHeld(signed, trust.Any, trust.Any)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestOut: a node takes part in a rollout by its place, and one without a peer id when
// all do.
func TestOut(t *testing.T) {
	half, all := offered(t, 50), offered(t, 100)
	in, others := 0, 0
	for i := range 64 {
		n := node{peer: "12D3KooW" + strings.Repeat("x", i)}
		why := n.out(half)
		if (why == "") != rollout.Takes(half.Manifest(), n.peer) {
			t.Errorf("%s: %q", n.peer, why)
		}
		if why == "" {
			in++
		} else {
			others++
		}
		if why := n.out(all); why != "" {
			t.Errorf("offered to all: %q", why)
		}
	}
	if in == 0 || others == 0 {
		t.Errorf("%d nodes are in, %d are not", in, others)
	}
	nobody := node{}
	if why := nobody.out(half); !strings.Contains(why, "50 %") {
		t.Errorf("a node without a peer id: %q", why)
	}
	if why := nobody.out(all); why != "" {
		t.Errorf("a node without a peer id, when all do: %q", why)
	}
}

// TestMay: a release is taken by itself within the window, and tried only where a
// hardware watchdog is, if one is wanted.
func TestMay(t *testing.T) {
	signer := storetest.NewSigner(t)
	running := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes).Verified
	next := signer.Release(t, "stable", "x86_64", 2, storetest.Sizes).Verified
	for name, c := range map[string]struct {
		change func(*node)
		why    string
		until  bool
	}{
		"all day":                      {change: func(*node) {}},
		"never":                        {change: func(n *node) { n.options.Window = settings.Never }, why: "on demand alone"},
		"tomorrow":                     {change: func(n *node) { n.options.Window = soon(2) }, why: "outside of the window", until: true},
		"now":                          {change: func(n *node) { n.options.Window = soon(-1) }},
		"garbage":                      {change: func(n *node) { n.options.Window = "x" }, why: "want a window"},
		"a watchdog is wanted":         {change: func(n *node) { n.options.RequireWatchdog = true }, why: "no hardware watchdog"},
		"one in software is none":      {change: func(n *node) { n.options.RequireWatchdog, n.watchdog = true, "Software Watchdog" }, why: "no hardware watchdog"},
		"a watchdog is wanted, and is": {change: func(n *node) { n.options.RequireWatchdog, n.watchdog = true, "i6300ESB timer" }},
	} {
		n := node{running: running, watchdog: "none"}
		c.change(&n)
		why, until := n.may(next)
		if (why == "") != (c.why == "") || !strings.Contains(why, c.why) || until.IsZero() == c.until {
			t.Errorf("%s: %q until %v", name, why, until)
		}
	}
	n := node{running: running, watchdog: "none", options: settings.Options{RequireWatchdog: true}}
	if err := n.guarded(next); refusal.CodeOf(err) != refusal.Busy {
		t.Errorf("a trial that somebody asked for: %v", err)
	}
}

// soon is a window of two hours that begins so many hours from now.
func soon(hours int) string {
	at := time.Now().UTC().Add(time.Duration(hours) * time.Hour)
	return at.Format("15:04") + "-" + at.Add(2*time.Hour).Format("15:04")
}
