package record_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/record"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func sorted(cases []vector) []vector {
	return slices.SortedFunc(slices.Values(cases), func(a, b vector) int { return cmp.Compare(a.File, b.File) })
}

// TestVectors reads the files as another program would.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(vectorDir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []vector
	if err := json.Unmarshal(text, &cases); err != nil || len(cases) < 25 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		value, err := os.ReadFile(filepath.Join(vectorDir, c.File))
		if err != nil {
			t.Fatal(err)
		}
		if n := c.PadTo - len(value); n > 0 {
			value = append(value, bytes.Repeat([]byte{' '}, n)...)
		}
		r, err := parse(c.Key, value, when(c.Now))
		if string(refusal.CodeOf(err)) != c.Code || (err == nil) != (c.Code == "") {
			t.Errorf("%s, %s: %v, want code %q", c.File, c.Why, err, c.Code)
		}
		if err == nil && (r.Version() != c.Version || !bytes.Equal(r.Value(), value) || r.Key().String() != c.Key) || err != nil && r.Value() != nil {
			t.Errorf("%s: version %d, want %d", c.File, r.Version(), c.Version)
		}
	}
}

func parse(key string, value []byte, now time.Time) (record.Record, error) {
	k, err := record.ParseKey(key)
	if err != nil {
		return record.Record{}, err
	}
	return record.Parse(k, value, now)
}

func made(t *testing.T, s *storetest.Signer, version uint64) record.Record {
	t.Helper()
	r, err := record.Make(s.Chain, s.Release(t, "stable", "x86_64", version, storetest.Sizes).Envelope(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What Make writes reads back, with the envelopes as they were signed.
func TestMake(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	release := two.Release(t, "nightly", "arm64", 3, storetest.Sizes)
	r, err := record.Make(two.Chain, release.Envelope(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if want := "/phase/" + one.Chain.Fleet() + "/nightly/arm64/manifest"; r.Key().String() != want || r.Digest() != release.Digest() || len(r.Artifacts()) != 3 {
		t.Errorf("key %s, want %s", r.Key(), want)
	}
	for _, envelope := range [][]byte{one.Root.Raw(), two.Root.Raw(), release.Envelope()} {
		if !bytes.Contains(r.Value(), bytes.TrimSpace(envelope)) {
			t.Error("an envelope does not stand in the value as it was signed")
		}
	}
	if !r.Expires().Equal(release.Manifest().Expires) {
		t.Errorf("expires %v", r.Expires())
	}
	if _, err := record.Make(one.Chain, release.Envelope(), time.Now()); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("a record whose chain does not vouch for its release: %v", err)
	}
	if _, err := record.Make(two.Chain, release.Envelope(), time.Now().AddDate(2, 0, 0)); refusal.CodeOf(err) != refusal.Expired {
		t.Errorf("an expired record: %v", err)
	}
	if _, err := record.Parse(r.Key(), r.Value(), time.Time{}); refusal.CodeOf(err) != refusal.Expired {
		t.Errorf("a record without a time to judge it by: %v", err)
	}
}

// TestFor: a valid record of another fleet is nothing to boot, and one who
// knows of a later root is not led back to an earlier one.
func TestFor(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	policy := trust.Policy{Channel: "stable", Arch: "x86_64", Now: time.Now()}
	for why, c := range map[string]struct {
		record record.Record
		own    chain.Chain
		code   refusal.Code
	}{
		"our fleet":                               {made(t, one, 1), one.Chain, ""},
		"a later root that follows from ours":     {made(t, two, 1), one.Chain, ""},
		"another fleet":                           {made(t, storetest.NewSigner(t), 1), one.Chain, refusal.Signature},
		"one signed by a key that we saw go":      {made(t, one, 1), two.Chain, refusal.Signature},
		"another second root than the one we saw": {made(t, one.Rotate(t), 1), two.Chain, refusal.Equivocation},
		"no record":                               {record.Record{}, one.Chain, refusal.Signature},
		"no roots of our own":                     {made(t, one, 1), chain.Chain{}, refusal.Signature},
	} {
		v, roots, err := c.record.For(c.own, policy)
		if refusal.CodeOf(err) != c.code || v.Valid() != (c.code == "") {
			t.Errorf("%s: %v, want code %q", why, err, c.code)
		}
		if err == nil && roots.Last().Digest() != c.record.Roots().Last().Digest() {
			t.Errorf("%s: judged by root version %d", why, roots.Last().Version())
		}
	}
	if _, _, err := made(t, one, 1).For(one.Chain, trust.Policy{Channel: "stable", Arch: "x86_64", Now: time.Now(), Floor: 2}); refusal.CodeOf(err) != refusal.Rollback {
		t.Errorf("below the floor: %v", err)
	}
}

// TestSelect: what is refused never wins, and all nodes choose alike.
func TestSelect(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	old, young := made(t, one, 5), made(t, one, 6)
	twin := made(t, one, 6) // created a moment later, so another payload
	if twin.Digest() == young.Digest() {
		t.Fatal("no twins")
	}
	low := young
	if record.Compare(twin, young) > 0 {
		low = twin
	}
	forged := made(t, storetest.NewSigner(t), 99)
	fast := made(t, one, 1<<53-1) // by a release key that root version 2 takes away
	mended := made(t, two, 7)
	for why, c := range map[string]struct {
		values []record.Record
		want   record.Record
	}{
		"the newest":                        {[]record.Record{old, young}, young},
		"whatever the order":                {[]record.Record{young, old}, young},
		"of twins the lower digest":         {[]record.Record{young, twin}, low},
		"of twins, whatever the order":      {[]record.Record{twin, young}, low},
		"none of another fleet":             {[]record.Record{forged, old}, old},
		"a new root undoes a fast-forward":  {[]record.Record{fast, mended}, mended},
		"the first when they say the same":  {[]record.Record{old, old}, old},
		"no value at all beside a good one": {[]record.Record{{}, old}, old},
	} {
		var values [][]byte
		for _, r := range c.values {
			values = append(values, r.Value())
		}
		i, err := record.Select(old.Key(), values, time.Now())
		if err != nil || !bytes.Equal(values[i], c.want.Value()) {
			t.Errorf("%s: chose %d, %v", why, i, err)
		}
	}
	if _, err := record.Select(old.Key(), [][]byte{forged.Value(), nil}, time.Now()); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("of refused values alone: %v", err)
	}
	if _, err := record.Select(old.Key(), nil, time.Now()); err == nil {
		t.Error("one of none was chosen")
	}
}

// FuzzParse states the law of this package: under the vectors' keys, whose
// private halves no fuzzer uses, only what the vectors hold is accepted, and
// whatever is accepted under any key names its fleet.
func FuzzParse(f *testing.F) {
	cases, files := vectors(f)
	signed := map[string]bool{}
	for _, c := range cases {
		f.Add(c.Key, []byte(files[c.File]))
		if r, err := parse(c.Key, []byte(files[c.File]), when(noon)); err == nil {
			signed[r.Digest().String()] = true
		}
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r, err := parse(key, value, when(noon))
		if err != nil {
			if refusal.CodeOf(err) == "" {
				t.Fatalf("a refusal without a code: %v", err)
			}
			return
		}
		if !signed[r.Digest().String()] || r.Key().String() != key || r.Roots().Fleet() != r.Key().Fleet || len(value) > record.MaxBytes {
			t.Fatalf("%s was accepted with version %d", key, r.Version())
		}
	})
}
