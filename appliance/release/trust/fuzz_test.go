package trust_test

import (
	"bytes"
	"testing"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// FuzzVerify states the law of this package: what nobody signed is refused.
// The root trusts the vectors' release keys, which no fuzzer holds, so all it
// can bring in is what the vectors already hold: a payload that verifies must
// be one of theirs.
func FuzzVerify(f *testing.F) {
	root := mustRoot(f, "root.json")
	signed := map[names.Digest]bool{}
	var cases []manifestCase
	loadCases(f, "manifest", &cases)
	for _, c := range cases {
		data := load(f, "manifest", c.File)
		f.Add(data)
		if e, err := envelope.Parse(data); err == nil {
			signed[names.Sum(e.Payload)] = true
		}
	}
	any := trust.Policy{Channel: trust.Any, Arch: trust.Any, Now: when(noon)}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := root.Verify(data, any)
		if v.Valid() != (err == nil) {
			t.Fatalf("Valid %v beside %v", v.Valid(), err)
		}
		if err != nil {
			if refusal.CodeOf(err) == "" {
				t.Fatalf("a refusal without a code: %v", err)
			}
			return
		}
		if !signed[v.Digest()] {
			t.Fatalf("nobody signed %s", v.Payload())
		}
		if !bytes.Equal(v.Envelope(), data) {
			t.Fatal("the envelope is not what came in")
		}
		if _, err := root.VerifyHeld(data, trust.Any, trust.Any); err != nil {
			t.Fatalf("acceptable from the network, but not once held: %v", err)
		}
	})
}

// FuzzUnsigned takes any payload at all: signed by a stranger it is refused
// for its signature alone, whatever it says; signed by the release keys it is
// accepted exactly when release.Parse and the channel's role accept it.
func FuzzUnsigned(f *testing.F) {
	root := mustRoot(f, "root.json")
	for _, c := range payloadCases() {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		forged, err := envelope.Sign(manifest.PayloadType, payload, key("stranger"), key("other"))
		if err != nil {
			return // over the cap
		}
		if _, err := root.VerifyHeld(forged, trust.Any, trust.Any); refusal.CodeOf(err) != refusal.Signature {
			t.Fatalf("a stranger's manifest gives %v", err)
		}
		signed, err := envelope.Sign(manifest.PayloadType, payload, key("a"), key("b"))
		if err != nil {
			return
		}
		m, parseErr := manifest.Parse(payload)
		_, err = root.VerifyHeld(signed, trust.Any, trust.Any)
		if want := parseErr == nil && m.Channel != "nightly"; want != (err == nil) {
			t.Fatalf("Parse says %v, VerifyHeld says %v", parseErr, err)
		}
	})
}

// FuzzParseRoot: a root is accepted only when its own root keys have signed
// it, so none but the vectors' own is.
func FuzzParseRoot(f *testing.F) {
	var cases []rootCase
	loadCases(f, "root", &cases)
	for _, c := range cases {
		f.Add(load(f, "root", c.File))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := trust.ParseRoot(data)
		if err != nil {
			if refusal.CodeOf(err) == "" {
				t.Fatalf("a refusal without a code: %v", err)
			}
			return
		}
		env, err := envelope.Parse(root.Raw())
		if err != nil {
			t.Fatal(err)
		}
		ids, threshold := root.Role(trust.RoleRoot)
		if threshold < 1 || len(ids) < threshold || len(env.Signatures) < threshold {
			t.Fatalf("a root of threshold %d, %d keys and %d signatures", threshold, len(ids), len(env.Signatures))
		}
		again, err := trust.ParseRoot(root.Raw())
		if err != nil || again.Version() != root.Version() {
			t.Fatalf("Raw does not parse to the same root: %v", err)
		}
	})
}

// FuzzParseDraft: what nobody signed can be read as a draft and is never
// finished; one that is finished is the root that ParseRoot reads.
func FuzzParseDraft(f *testing.F) {
	var cases []rootCase
	loadCases(f, "root", &cases)
	for _, c := range cases {
		f.Add(load(f, "root", c.File))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		draft, err := trust.ParseDraft(data)
		if err != nil {
			if refusal.CodeOf(err) == "" {
				t.Fatalf("a refusal without a code: %v", err)
			}
			return
		}
		needs := draft.Needs(trust.Root{})
		_, err = trust.ParseRoot(data)
		if len(needs) != 1 || (err == nil) != (needs[0].Missing() == 0) {
			t.Fatalf("%+v is missing, and ParseRoot says %v", needs, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	root := mustRoot(b, "root.json")
	data := load(b, "manifest", "good.json")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := root.Verify(data, policy()); err != nil {
			b.Fatal(err)
		}
	}
}
