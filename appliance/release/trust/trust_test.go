package trust_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

func mustRoot(t testing.TB, file string) trust.Root {
	t.Helper()
	root, err := trust.ParseRoot(load(t, "manifest", file))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func when(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return at
}

func policy() trust.Policy {
	return trust.Policy{Channel: "stable", Arch: "x86_64", Now: when(noon)}
}

// TestPolicyMustBeSaid: a field of the policy that a caller forgot lets
// nothing in.
func TestPolicyMustBeSaid(t *testing.T) {
	root, good := mustRoot(t, "root.json"), load(t, "manifest", "good.json")
	for code, forget := range map[refusal.Code]func(*trust.Policy){
		refusal.Channel: func(p *trust.Policy) { p.Channel = "" },
		refusal.Arch:    func(p *trust.Policy) { p.Arch = "" },
		refusal.Expired: func(p *trust.Policy) { p.Now = time.Time{} },
	} {
		p := policy()
		forget(&p)
		if _, err := root.Verify(good, p); refusal.CodeOf(err) != code {
			t.Errorf("without its %s the policy gives %v", code, err)
		}
	}
	if _, err := root.VerifyHeld(good, trust.Any, ""); refusal.CodeOf(err) != refusal.Arch {
		t.Errorf("VerifyHeld without an arch gives %v", err)
	}
	if _, err := root.VerifyHeld(good, trust.Any, "x86_64"); err != nil {
		t.Errorf("VerifyHeld of any channel: %v", err)
	}
	if _, err := (trust.Root{}).Verify(good, policy()); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("the zero Root gives %v", err)
	}
}

// TestVerifiedIsSealed: what a caller does with what it was given changes
// nothing that was verified.
func TestVerifiedIsSealed(t *testing.T) {
	root, data := mustRoot(t, "root.json"), load(t, "manifest", "good.json")
	given := bytes.Clone(data)
	v, err := root.Verify(given, policy())
	if err != nil {
		t.Fatal(err)
	}
	clear(given)
	v.Manifest().Artifacts["kernel"] = manifest.Artifact{Size: 1}
	clear(v.Envelope())
	clear(v.Payload())
	if !bytes.Equal(v.Envelope(), data) || string(v.Payload()) != payload(nil) {
		t.Error("a caller changed the verified bytes")
	}
	if v.Manifest().Artifacts["kernel"].Size != 16500000 {
		t.Error("a caller changed the verified manifest")
	}
	if v.Digest() != names.Sum([]byte(payload(nil))) {
		t.Error("Digest is not that of the payload")
	}
	if (trust.Verified{}).Valid() {
		t.Error("the zero Verified is valid")
	}
}

// TestCheckNamesEverything: once a manifest is known to be signed, all its
// faults are named in one go.
func TestCheckNamesEverything(t *testing.T) {
	root, good := mustRoot(t, "root-expired.json"), load(t, "manifest", "good.json")
	p := trust.Policy{Channel: "testing", Arch: "arm64", Now: when("2030-01-01T00:00:00Z"), Floor: 50}
	var got []string
	for _, c := range root.Check(good, p) {
		got = append(got, c.Name+" "+string(c.Code))
	}
	want := []string{"envelope ", "signature ", "manifest ", "channel channel", "arch arch", "root expired", "expires expired", "floor rollback"}
	if !slices.Equal(got, want) {
		t.Errorf("checks %q, want %q", got, want)
	}
}

// TestUnsignedIsNotParsed: what nobody signed is not read, however broken it
// is.
func TestUnsignedIsNotParsed(t *testing.T) {
	root := mustRoot(t, "root.json")
	data := []byte(sign(t, manifest.PayloadType, `{"version":`, "stranger"))
	if _, err := root.Verify(data, policy()); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("a stranger's broken manifest gives %v, want signature", err)
	}
}

func TestNow(t *testing.T) {
	y1970, y2026, y2027, y2100 := time.Unix(0, 0), when(noon), when("2027-01-01T00:00:00Z"), when("2100-01-01T00:00:00Z")
	for _, c := range []struct {
		clock  time.Time
		floors []time.Time
		want   time.Time
	}{
		{y1970, nil, y1970},
		{y1970, []time.Time{y2027, y2026}, y2027},
		{y2026, []time.Time{y1970}, y2026},
		{y2100, []time.Time{y2026}, y2100},
	} {
		if got := trust.Now(c.clock, c.floors...); !got.Equal(c.want) {
			t.Errorf("Now(%v, %v) = %v, want %v", c.clock, c.floors, got, c.want)
		}
	}
}

func TestSignRoot(t *testing.T) {
	spec := func(edit func(*trust.RootSpec)) trust.RootSpec {
		s := trust.RootSpec{Version: 1, Expires: when("2036-01-01T00:00:00Z"), Roles: map[string]trust.RoleSpec{
			"root": {Keys: public("root1"), Threshold: 1}, "release": {Keys: public("a"), Threshold: 1},
		}}
		if edit != nil {
			edit(&s)
		}
		return s
	}
	data, err := trust.SignRoot(spec(nil), key("root1"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	ids, threshold := root.Role("release")
	if root.Version() != 1 || !root.Expires().Equal(when("2036-01-01T00:00:00Z")) || threshold != 1 || !slices.Equal(ids, []string{keyID("a")}) {
		t.Errorf("root %d %v %v %d", root.Version(), root.Expires(), ids, threshold)
	}
	m, err := manifest.Parse([]byte(payload(nil)))
	if err != nil {
		t.Fatal(err)
	}
	offer, err := trust.SignRelease(m, key("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Verify(offer, policy()); err != nil {
		t.Errorf("a release signed under the root made: %v", err)
	}
	if _, err := trust.SignRoot(spec(nil), key("a")); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("a root nobody of it signed: %v", err)
	}
	if _, err := trust.SignRoot(spec(func(s *trust.RootSpec) { s.Roles["release"] = s.Roles["root"] }), key("root1")); err == nil {
		t.Error("a root key that may sign releases was accepted")
	}
	if _, err := trust.SignRelease(manifest.Manifest{}, key("a")); err == nil {
		t.Error("an empty manifest was signed")
	}
}
