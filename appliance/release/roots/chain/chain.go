// Package chain walks from the first root of a fleet to its latest, each link
// signed by the one before it and by itself. The digest of the first root is
// the name of the fleet: all who trust the same first root are one fleet,
// whatever was rotated since.
package chain

import (
	"slices"
	"strings"

	"phase/appliance/base/refusal"
	"phase/appliance/release/trust"
)

const (
	// MaxLinks is how many roots a chain may have. A fleet that rotates its
	// root twice a year comes by with it for sixteen years.
	MaxLinks = 32
	// FleetDigits is the length of a fleet's name: hex digits, lower case.
	FleetDigits = 32
)

// Chain is the roots of one fleet from version 1 on, each the successor of the
// one before it. The zero Chain has none and trusts nobody. Which of its roots
// have expired is not judged here: only the last one must be good, and
// trust.Root.Verify sees to that.
type Chain struct {
	links []trust.Root
}

// Parse walks a chain from root version 1, each link an envelope. That shows
// that it is whole, not that it is ours: compare Fleet, or use Join. Errors are
// *refusal.Refusal.
func Parse(envelopes ...[]byte) (Chain, error) {
	if len(envelopes) == 0 {
		return Chain{}, refusal.New(refusal.Format, "a chain of roots without a root")
	}
	first, err := trust.ParseRoot(envelopes[0])
	if err != nil {
		return Chain{}, err
	}
	c, err := Of(first)
	if err != nil {
		return Chain{}, err
	}
	return c.Append(envelopes[1:]...)
}

// Of is the chain of a root of version 1 alone. Of a later root the name of
// the fleet does not follow, so it is refused: what comes before it is needed.
func Of(root trust.Root) (Chain, error) {
	if root.Version() != 1 {
		return Chain{}, refusal.New(refusal.Format, "a chain of roots begins with version 1, not %d", root.Version())
	}
	return Chain{links: []trust.Root{root}}, nil
}

// Append returns the chain with further links, the next version first; c stays
// as it is. Errors are *refusal.Refusal.
func (c Chain) Append(envelopes ...[]byte) (Chain, error) {
	if len(c.links)+len(envelopes) > MaxLinks {
		return Chain{}, refusal.New(refusal.Size, "a chain of %d roots, at most %d", len(c.links)+len(envelopes), MaxLinks)
	}
	links := slices.Clone(c.links)
	for _, data := range envelopes {
		next, err := c.last(links).Next(data)
		if err != nil {
			return Chain{}, err
		}
		links = append(links, next)
	}
	return Chain{links: links}, nil
}

// Join returns the longer of two chains of one fleet, which must agree as far
// as both reach. Of two roots of one version, that would be the fleet's own
// equivocation, the one known first stays: the other chain is refused with the
// code "equivocation", one of another fleet with "signature".
func (c Chain) Join(other Chain) (Chain, error) {
	if len(c.links) == 0 || c.Fleet() != other.Fleet() || c.links[0].Digest() != other.links[0].Digest() {
		return Chain{}, refusal.New(refusal.Signature, "the roots are of fleet %q, not of %q", other.Fleet(), c.Fleet())
	}
	for i := range min(len(c.links), len(other.links)) {
		if c.links[i].Digest() != other.links[i].Digest() {
			return Chain{}, refusal.New(refusal.Equivocation, "another root version %d is known", i+1)
		}
	}
	if len(other.links) > len(c.links) {
		return other, nil
	}
	return c, nil
}

// Last is the root that counts; the zero Root, under which nothing verifies,
// for the zero Chain.
func (c Chain) Last() trust.Root { return c.last(c.links) }

func (Chain) last(links []trust.Root) trust.Root {
	if len(links) == 0 {
		return trust.Root{}
	}
	return links[len(links)-1]
}

// Roots are all links, version 1 first.
func (c Chain) Roots() []trust.Root { return slices.Clone(c.links) }

// Fleet is the first 32 hex digits of SHA-256 over the payload of root version
// 1; "" for the zero Chain.
func (c Chain) Fleet() string {
	if len(c.links) == 0 {
		return ""
	}
	return c.links[0].Digest().Hex()[:FleetDigits]
}

// CheckFleet says what is wrong with the name of a fleet: an error unless it is
// 32 lower-case hex digits.
func CheckFleet(text string) error {
	if len(text) != FleetDigits || strings.Trim(text, "0123456789abcdef") != "" {
		return refusal.New(refusal.Format, "fleet %.40q is not %d lower-case hex digits", text, FleetDigits)
	}
	return nil
}
