package survey

import (
	"bytes"
	"cmp"
	"slices"

	"phase/appliance/base/names"
	"phase/appliance/release/trust"
)

// Offer is a release that passed every check, and the provider that has it.
type Offer struct {
	Provider string // base URL
	Release  trust.Verified
}

// Choice is the release to take, and everyone who offers exactly it.
type Choice struct {
	Release   trust.Verified
	Providers []string
}

// Choose picks the newest release among the offers that is newer than the
// floor and that failed says nothing against. Two releases of one version are
// told apart by digest, the lower one winning, so that all nodes that see the
// same offers choose the same.
func Choose(offers []Offer, floor uint64, failed func(names.Digest) bool) (Choice, bool) {
	var c Choice
	for _, o := range offers {
		if !o.Release.Valid() || o.Release.Manifest().Version <= floor || failed(o.Release.Digest()) {
			continue
		}
		switch order := compare(o.Release, c.Release); {
		case order > 0:
			c = Choice{Release: o.Release, Providers: []string{o.Provider}}
		case order == 0 && !slices.Contains(c.Providers, o.Provider): // two may announce one address
			c.Providers = append(c.Providers, o.Provider)
		}
	}
	return c, c.Release.Valid()
}

// compare is positive when a is to be preferred to b. The zero Verified loses
// to everything.
func compare(a, b trust.Verified) int {
	if !b.Valid() {
		return 1
	}
	da, db := a.Digest(), b.Digest()
	return cmp.Or(cmp.Compare(a.Manifest().Version, b.Manifest().Version), bytes.Compare(db[:], da[:]))
}
