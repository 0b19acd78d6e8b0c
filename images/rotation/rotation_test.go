package rotation_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
	"phase/images/rotation"
)

var day = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(names ...string) []ed25519.PublicKey {
	var list []ed25519.PublicKey
	for _, name := range names {
		list = append(list, key(name).Public().(ed25519.PublicKey))
	}
	return list
}

func id(name string) string { return envelope.KeyID(public(name)[0]) }

// first is a fleet: two of alice, bob and carol for roots, old for releases.
func first(t *testing.T) chain.Chain {
	t.Helper()
	spec, err := rotation.Change{Expires: day.AddDate(5, 0, 0), Threshold: map[string]int{"root": 2}, Add: map[string][]ed25519.PublicKey{
		"root": public("alice", "bob", "carol"), "release": public("old"),
	}}.Apply(trust.RootSpec{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := chain.Parse(draft(t, spec, "alice", "carol").Raw())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func draft(t *testing.T, spec trust.RootSpec, signers ...string) trust.Draft {
	t.Helper()
	payload, err := spec.Payload()
	if err != nil {
		t.Fatal(err)
	}
	data, err := envelope.Unsigned(trust.RootType, payload)
	if len(signers) > 0 && err == nil {
		var keys []ed25519.PrivateKey
		for _, name := range signers {
			keys = append(keys, key(name))
		}
		data, err = envelope.Sign(trust.RootType, payload, keys...)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := trust.ParseDraft(data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func release(t *testing.T, version uint64, size int, signers ...string) rotation.Held {
	t.Helper()
	a := manifest.Artifact{Size: 1, SHA256: names.Sum([]byte("a"))}
	m := manifest.Manifest{Version: version, Name: "test", Channel: "stable", Arch: "arm64", Created: day, Expires: day.AddDate(0, 6, 0),
		Artifacts: map[string]manifest.Artifact{"kernel": a, "initramfs": a, "rootfs": a}}
	for i := range size {
		m.Artifacts[fmt.Sprintf("more-%d", i)] = a
	}
	var keys []ed25519.PrivateKey
	for _, name := range signers {
		keys = append(keys, key(name))
	}
	data, err := trust.SignRelease(m, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return rotation.Held{File: fmt.Sprint(version), Envelope: data}
}

// The key of releases was stolen: what it signed is refused, the floor that it
// raised falls to the highest honest release that is signed anew, and all of
// that is known before anybody has signed the root.
func TestTheft(t *testing.T) {
	before := first(t)
	change := rotation.Change{Expires: day.AddDate(5, 0, 0), Remove: map[string][]string{"": {id("old")[:12]}}, Add: map[string][]ed25519.PublicKey{"release": public("new")}}
	spec, err := change.Apply(before.Last().Spec())
	if err != nil {
		t.Fatal(err)
	}
	held := []rotation.Held{release(t, 10, 0, "old"), release(t, manifest.MaxVersion, 0, "old"), release(t, 11, 0, "new"), release(t, 12, 0, "old", "new")}
	for _, c := range []struct {
		signers  []string
		complete bool
		missing  string
	}{
		{nil, false, "2 2"}, {[]string{"alice"}, false, "1 1"}, {[]string{"alice", "old"}, false, "1 1"}, {[]string{"alice", "bob"}, true, "0 0"},
	} {
		e := rotation.Look(before, draft(t, spec, c.signers...), held, day)
		if e.Complete != c.complete || e.Walkable != c.complete || fmt.Sprint(e.Signatures[0].Missing, e.Signatures[1].Missing) != c.missing {
			t.Errorf("signed by %q: %+v", c.signers, e)
		}
		var got []string
		for _, r := range e.Releases {
			got = append(got, fmt.Sprintf("%d %s>%s", r.Version, r.Before, r.After))
		}
		if want := "10 >signature,9007199254740991 >signature,11 signature>,12 >"; strings.Join(got, ",") != want {
			t.Errorf("releases %q, want %q", got, want)
		}
		if len(e.Floors) != 1 || e.Floors[0].Before != manifest.MaxVersion || e.Floors[0].After != 12 {
			t.Errorf("floors %+v", e.Floors)
		}
		want := []string{"role release: + key " + id("new"), "role release: - key " + id("old")}
		if !slices.Equal(e.Changes, want) || e.Version != 2 || e.Fleet != before.Fleet() || e.Days != 1826 {
			t.Errorf("%+v, want changes %q", e, want)
		}
		warned := strings.Join(e.Warnings, "\n")
		for _, text := range []string{"version 10 is refused (signature): sign it again", "the floor falls from version 9007199254740991 to 12", "role release has one key"} {
			if !strings.Contains(warned, text) {
				t.Errorf("no warning says %q:\n%s", text, warned)
			}
		}
	}
}

// What a person may not have meant is said.
func TestWarnings(t *testing.T) {
	before := first(t)
	look := func(c rotation.Change, held ...rotation.Held) string {
		if c.Expires.IsZero() {
			c.Expires = day.AddDate(5, 0, 0)
		}
		spec, err := c.Apply(before.Last().Spec())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(rotation.Look(before, draft(t, spec, "alice", "bob", "carol"), held, day).Warnings, "\n")
	}
	for text, warned := range map[string]string{
		"the new root expires in 29 days":       look(rotation.Change{Expires: day.AddDate(0, 0, 29)}),
		"the new root expired":                  look(rotation.Change{Expires: day}),
		"role root needs all its 3 keys":        look(rotation.Change{Threshold: map[string]int{"root": 3}}),
		"role root needs one of its 3 keys":     look(rotation.Change{Threshold: map[string]int{"root": 1}}),
		"1 is no release":                       look(rotation.Change{}, rotation.Held{File: "1", Envelope: []byte("{}")}),
		"7 is not found through the DHT: ":      look(rotation.Change{Add: map[string][]ed25519.PublicKey{"release": many(20)}}, large(t, 7)),
		"role release/nightly has one key: who": look(rotation.Change{Add: map[string][]ed25519.PublicKey{"release/nightly": public("night")}}),
	} {
		if !strings.Contains(warned, text) {
			t.Errorf("no warning says %q:\n%s", text, warned)
		}
	}
	if warned := look(rotation.Change{Add: map[string][]ed25519.PublicKey{"release": public("a", "b")}, Threshold: map[string]int{"release": 2}}); warned != "" {
		t.Errorf("nothing to warn of: %s", warned)
	}
}

func many(n int) (list []ed25519.PublicKey) {
	for i := range n {
		list = append(list, public(fmt.Sprint("key", i))...)
	}
	return list
}

// large is a release whose manifest alone nearly fills a record.
func large(t *testing.T, version uint64) rotation.Held {
	t.Helper()
	h := release(t, version, 61, "old")
	env, err := envelope.Parse(h.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	payload := strings.TrimSuffix(string(env.Payload), "}") + `,"notes":"` + strings.Repeat("x", 40_000) + `"}`
	if h.Envelope, err = envelope.Sign(manifest.PayloadType, []byte(payload), key("old")); err != nil {
		t.Fatal(err)
	}
	return h
}

// Nodes follow 32 roots and no more.
func TestTooManyRoots(t *testing.T) {
	c := first(t)
	for c.Last().Version() < chain.MaxLinks {
		spec, err := rotation.Change{Expires: day.AddDate(5, 0, 0)}.Apply(c.Last().Spec())
		if err == nil {
			c, err = c.Append(draft(t, spec, "alice", "bob").Raw())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	spec, err := rotation.Change{Expires: day.AddDate(5, 0, 0)}.Apply(c.Last().Spec())
	if err != nil {
		t.Fatal(err)
	}
	if e := rotation.Look(c, draft(t, spec, "alice", "bob"), nil, day); e.Walkable || !strings.Contains(strings.Join(e.Warnings, "\n"), "at most 32") {
		t.Errorf("%+v", e)
	}
}

func TestApply(t *testing.T) {
	spec := first(t).Last().Spec()
	add := func(role string, names ...string) rotation.Change {
		return rotation.Change{Add: map[string][]ed25519.PublicKey{role: public(names...)}}
	}
	remove := func(role, key string) rotation.Change {
		return rotation.Change{Remove: map[string][]string{role: {key}}}
	}
	for why, c := range map[string]struct {
		change rotation.Change
		says   string // "" when a root can be made of it
	}{
		"nothing":                 {rotation.Change{}, ""},
		"a channel's role":        {add("release/nightly", "night"), ""},
		"one of three taken out":  {remove("root", id("bob")), ""},
		"in capitals":             {remove("root", strings.ToUpper(id("bob"))), ""},
		"two of three taken out":  {rotation.Change{Remove: map[string][]string{"root": {id("bob"), id("alice")}}}, "threshold 2 is not 1 to its 1 keys"},
		"the only key taken out":  {remove("release", id("old")), "threshold 1 is not 1 to its 0 keys"},
		"a key that is there":     {add("root", "bob"), "in role \"root\" already"},
		"a root key for releases": {add("release", "bob"), "give each its own"},
		"a stranger taken out":    {remove("", id("stranger")), "no role has it"},
		"out of another role":     {remove("release", id("bob")), "no role \"release\" has it"},
		"out of no role":          {remove("release/nightly", id("bob")), "there is no role"},
		"few digits":              {remove("", id("bob")[:7]), "at least 8 digits"},
		"no such role":            {add("release/beta", "x"), "is none of"},
		"threshold of no role":    {rotation.Change{Threshold: map[string]int{"release/nightly": 1}}, "no key is in it"},
		"threshold too high":      {rotation.Change{Threshold: map[string]int{"root": 4}}, "threshold 4"},
		"role release dropped":    {rotation.Change{Drop: []string{"release"}}, "dropping role"},
		"no role dropped":         {rotation.Change{Drop: []string{"release/nightly"}}, "dropping role"},
	} {
		c.change.Expires = day
		next, err := c.change.Apply(spec)
		if err == nil {
			_, err = next.Payload()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", why, err, c.says)
		}
		if len(spec.Roles) != 2 || len(spec.Roles["root"].Keys) != 3 || len(spec.Roles["release"].Keys) != 1 {
			t.Fatalf("%s: the root before was changed: %+v", why, spec)
		}
	}
	night, err := add("release/nightly", "night").Apply(spec)
	if err != nil {
		t.Fatal(err)
	}
	if next, err := (rotation.Change{Drop: []string{"release/nightly"}}).Apply(night); err != nil || len(next.Roles) != 2 {
		t.Errorf("a channel's role dropped: %+v, %v", next, err)
	}
}
