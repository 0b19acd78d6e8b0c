package trust_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

func draftOf(t *testing.T, spec trust.RootSpec, signers ...string) trust.Draft {
	t.Helper()
	payload, err := spec.Payload()
	if err != nil {
		t.Fatal(err)
	}
	draft, err := trust.ParseDraft([]byte(sign(t, trust.RootType, string(payload), strings.Join(signers, " "))))
	if err != nil {
		t.Fatal(err)
	}
	return draft
}

// A draft says what it lacks, root by root, and has enough exactly when it
// follows.
func TestDraft(t *testing.T) {
	one := mustRoot(t, "root.json") // root1 and root2 must sign
	spec := one.Spec()
	spec.Version = 2
	spec.Roles[trust.RoleRoot] = trust.RoleSpec{Keys: public("root2", "root3"), Threshold: 1}
	spec.Roles[trust.RoleRelease] = trust.RoleSpec{Keys: public("b", "c"), Threshold: 2}
	for _, c := range []struct {
		signers string
		missing []int
	}{
		{"", []int{2, 1}}, {"root1", []int{1, 1}}, {"root2", []int{1, 0}}, {"root3", []int{2, 0}}, {"root1 root3", []int{1, 0}},
		{"root1 root2", []int{0, 0}}, {"root1 root1 stranger a", []int{1, 1}}, {"stranger root2 root1 root3", []int{0, 0}},
	} {
		draft := draftOf(t, spec, strings.Fields(c.signers)...)
		needs := draft.Needs(one)
		if len(needs) != 2 || needs[0].Version != 1 || needs[1].Version != 2 || needs[0].Missing() != c.missing[0] || needs[1].Missing() != c.missing[1] {
			t.Errorf("signed by %q: %+v, want %v missing", c.signers, needs, c.missing)
		}
		for _, need := range needs {
			if len(need.Signed)+len(need.Others) != 2 {
				t.Errorf("signed by %q: %+v", c.signers, need)
			}
		}
		if _, err := one.Next(draft.Raw()); (err == nil) != (c.missing[0]+c.missing[1] == 0) {
			t.Errorf("signed by %q: %v follows: %v", c.signers, c.missing, err)
		}
	}
	draft := draftOf(t, spec)
	if needs := draft.Needs(trust.Root{}); len(needs) != 1 || needs[0].Version != 2 {
		t.Errorf("with none before: %+v", needs)
	}
	if got := draft.Spec(); !reflect.DeepEqual(got.Roles, spec.Roles) || got.Version != 2 || !got.Expires.Equal(spec.Expires) {
		t.Errorf("it says %+v", got)
	}
	// a and b signed the good release: two under the old root, one under this.
	checks := draft.Check(load(t, "manifest", "good.json"), policy())
	if last := checks[len(checks)-1]; last.OK || last.Code != "threshold" {
		t.Errorf("checks %+v", checks)
	}
	for _, file := range []string{"good.json"} {
		if _, err := trust.ParseDraft(load(t, "manifest", file)); err == nil {
			t.Error("a manifest is no root")
		}
	}
}

// What a root says makes the same root again, byte for byte.
func TestSpecComesBack(t *testing.T) {
	root := mustRoot(t, "root.json")
	data, err := trust.SignRoot(root.Spec(), key("root1"), key("root2"))
	if err != nil || !bytes.Equal(data, root.Raw()) {
		t.Errorf("%s, %v", data, err)
	}
	root.Spec().Roles[trust.RoleRoot].Keys[0][0] ^= 1
	if _, err := root.Next(data); err == nil || root.Spec().Keys()[envelope.KeyID(public("root1")[0])] == nil {
		t.Error("a caller changed the root")
	}
}

// The floor is the highest of what the root vouches for: a key that is taken
// back takes its floor with it.
func TestFloor(t *testing.T) {
	root := mustRoot(t, "root.json")
	at := func(version, channel, arch, signers string) []byte {
		return []byte(sign(t, manifest.PayloadType, payload(fields{"version": version, "channel": `"` + channel + `"`, "arch": `"` + arch + `"`}), signers))
	}
	list := [][]byte{
		at("42", "stable", "x86_64", "a b"), at("41", "stable", "x86_64", "a b"), at("50", "stable", "arm64", "a b"), at("60", "testing", "x86_64", "a b"),
		at("9007199254740991", "stable", "x86_64", "a stranger"), []byte("torn"), nil,
	}
	version, digest := root.Floor("stable", "x86_64", list...)
	if v, err := root.VerifyHeld(list[0], "stable", "x86_64"); version != 42 || err != nil || digest != v.Digest() {
		t.Errorf("floor %d %s, %v", version, digest, err)
	}
	if version, digest := root.Floor("stable", "x86_64"); version != 0 || !digest.IsZero() {
		t.Errorf("of nothing: %d %s", version, digest)
	}
	spec := root.Spec()
	spec.Version = 2
	spec.Roles[trust.RoleRelease] = trust.RoleSpec{Keys: public("b", "c"), Threshold: 2}
	next, err := root.Next(draftOf(t, spec, "root1", "root2").Raw())
	if err != nil {
		t.Fatal(err)
	}
	if version, _ := next.Floor("stable", "x86_64", append(list, at("7", "stable", "x86_64", "b c"))...); version != 7 {
		t.Errorf("without key a: %d", version)
	}
}

func TestEnding(t *testing.T) {
	now := when(noon)
	for left, want := range map[time.Duration]string{
		trust.Notice + time.Second: "", trust.Notice: "expires in 30 days", time.Hour: "expires in 0 days", 0: "expired on", -time.Hour: "expired on",
	} {
		if got := trust.Ending("it", now.Add(left), now); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v left: %q, want %q", left, got, want)
		}
	}
}
