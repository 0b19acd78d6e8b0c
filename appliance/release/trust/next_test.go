package trust_test

import (
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
)

// TestNext: a root is followed by the next version alone, and only with the
// thresholds of both. Each case has one fault.
func TestNext(t *testing.T) {
	// Version 2 has other keys, of which two must sign.
	second := func(change fields) string {
		text := fields{"version": "2", "keys": keysText("root1 other stranger a b c"), "roles": rolesText(fields{"root": roleText("other stranger", "2")})}
		for name, value := range change {
			text[name] = value
		}
		return rootPayload(text)
	}
	first, err := trust.ParseRoot([]byte(sign(t, trust.RootType, rootPayload(nil), "root1 root2")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why, payload, signers string
		code                  refusal.Code
	}{
		{"both thresholds", second(nil), "root1 root2 other stranger", ""},
		{"an expired link: only the last must be good", second(fields{"expires": `"2001-01-01T00:00:00Z"`}), "root1 root2 other stranger", ""},
		{"the old keys alone", second(nil), "root1 root2", refusal.Signature},
		{"the new keys alone", second(nil), "other stranger", refusal.Signature},
		{"one of the old", second(nil), "root1 other stranger", refusal.Threshold},
		{"one of the old, twice", second(nil), "root1 root1 other stranger", refusal.Threshold},
		{"one of the new", second(nil), "root1 root2 other", refusal.Threshold},
		{"release keys of the old", second(nil), "a b c other stranger", refusal.Signature},
		{"the same version", second(fields{"version": "1"}), "root1 root2 other stranger", refusal.Format},
		{"a version left out", second(fields{"version": "3"}), "root1 root2 other stranger", refusal.Format},
	} {
		next, err := first.Next([]byte(sign(t, trust.RootType, c.payload, c.signers)))
		if refusal.CodeOf(err) != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%s: %v, want code %q", c.why, err, c.code)
		}
		if err == nil && (next.Version() != 2 || next.Digest() == first.Digest()) || err != nil && next.Version() != 0 {
			t.Errorf("%s: version %d beside %v", c.why, next.Version(), err)
		}
	}
	if _, err := (trust.Root{}).Next(first.Raw()); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("a root followed the zero root: %v", err)
	}
}
