package chain_test

import (
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func TestChain(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	three := two.Rotate(t)
	a, b, c := one.Root.Raw(), two.Root.Raw(), three.Root.Raw()
	got, err := chain.Parse(a, b, c)
	if err != nil || got.Last().Version() != 3 || len(got.Roots()) != 3 || got.Fleet() != one.Root.Digest().Hex()[:32] {
		t.Fatalf("a chain of three: %v, last %d, fleet %q", err, got.Last().Version(), got.Fleet())
	}
	if err := chain.CheckFleet(got.Fleet()); err != nil {
		t.Error(err)
	}
	stranger := storetest.NewSigner(t)
	strangers := stranger.Rotate(t)
	long := [][]byte{a}
	for range chain.MaxLinks {
		long = append(long, b)
	}
	for why, w := range map[string]struct {
		links [][]byte
		code  refusal.Code
	}{
		"none":               {nil, refusal.Format},
		"begins later":       {[][]byte{b, c}, refusal.Format},
		"one left out":       {[][]byte{a, c}, refusal.Format},
		"one twice":          {[][]byte{a, b, b}, refusal.Format},
		"another fleet's":    {[][]byte{a, strangers.Root.Raw()}, refusal.Signature},
		"too long":           {long, refusal.Size},
		"not a root at all":  {[][]byte{a, []byte("{}")}, refusal.Format},
		"a manifest, signed": {[][]byte{a, two.Release(t, "stable", "x86_64", 1, storetest.Sizes).Envelope()}, refusal.Format},
	} {
		if got, err := chain.Parse(w.links...); refusal.CodeOf(err) != w.code || len(got.Roots()) != 0 {
			t.Errorf("%s: %v, want code %q", why, err, w.code)
		}
	}
	if _, err := chain.Of(two.Root); refusal.CodeOf(err) != refusal.Format {
		t.Errorf("version 2 alone: %v", err)
	}
	if (chain.Chain{}).Last().Version() != 0 || (chain.Chain{}).Fleet() != "" {
		t.Error("the zero chain trusts somebody")
	}
	if _, err := (chain.Chain{}).Append(a); err == nil {
		t.Error("a root followed none")
	}
}

func TestJoin(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	fork := one.Rotate(t)
	for why, c := range map[string]struct {
		own, other chain.Chain
		last       trust.Root
		code       refusal.Code
	}{
		"the other is longer":      {one.Chain, two.Chain, two.Root, ""},
		"our own is longer":        {two.Chain, one.Chain, two.Root, ""},
		"the same":                 {two.Chain, two.Chain, two.Root, ""},
		"two roots of one version": {two.Chain, fork.Chain, trust.Root{}, refusal.Equivocation},
		"another fleet":            {one.Chain, storetest.NewSigner(t).Chain, trust.Root{}, refusal.Signature},
		"of nobody":                {chain.Chain{}, one.Chain, trust.Root{}, refusal.Signature},
		"with nothing":             {one.Chain, chain.Chain{}, trust.Root{}, refusal.Signature},
	} {
		got, err := c.own.Join(c.other)
		if refusal.CodeOf(err) != c.code || got.Last().Digest() != c.last.Digest() {
			t.Errorf("%s: version %d, %v, want code %q", why, got.Last().Version(), err, c.code)
		}
	}
}

func TestCheckFleet(t *testing.T) {
	const good = "0123456789abcdef0123456789abcdef"
	if err := chain.CheckFleet(good); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", good[:31], good + "0", "0123456789ABCDEF0123456789abcdef", "../3456789abcdef0123456789abcdef"} {
		if err := chain.CheckFleet(text); refusal.CodeOf(err) != refusal.Format {
			t.Errorf("%q: %v", text, err)
		}
	}
}
