package images

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"phase/appliance/base/envelope"
	"phase/appliance/release/manifest"
	"phase/images/attest"
)

// sameAs refuses what somebody else has made unless the file of --same-as, which
// comes from a build of one's own, says the same.
func (c *signCommand) sameAs(theirs envelope.Envelope) error {
	own, err := readEnvelope(c.SameAs)
	if err != nil {
		return fmt.Errorf("--same-as: %w", err)
	}
	if own.PayloadType == theirs.PayloadType && bytes.Equal(own.Payload, theirs.Payload) {
		return nil
	}
	return fmt.Errorf("%s is not signed: it does not say the same as %s%s", c.File, c.SameAs, otherWords(theirs, own))
}

// otherWords names what two documents say differently; "" where they cannot be compared.
func otherWords(theirs, own envelope.Envelope) string {
	if theirs.PayloadType != own.PayloadType {
		return ", which is of another kind"
	}
	var words []string
	differ := func(what string, a, b any) {
		if a != b {
			words = append(words, fmt.Sprintf("%s is %v and not %v", what, a, b))
		}
	}
	switch theirs.PayloadType {
	case manifest.PayloadType:
		a, errA := manifest.Parse(theirs.Payload)
		b, errB := manifest.Parse(own.Payload)
		if errA != nil || errB != nil {
			return ""
		}
		differ("version", a.Version, b.Version)
		differ("name", a.Name, b.Name)
		differ("channel", a.Channel, b.Channel)
		differ("arch", a.Arch, b.Arch)
		differ("created", a.Created.UTC(), b.Created.UTC())
		differ("expires", a.Expires.UTC(), b.Expires.UTC())
		differ("the command line", a.Cmdline, b.Cmdline)
		differ("the rollout", rolloutWords(a.Rollout), rolloutWords(b.Rollout))
		all := maps.Clone(a.Artifacts)
		maps.Copy(all, b.Artifacts)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			differ(name, a.Artifacts[name].SHA256, b.Artifacts[name].SHA256)
		}
	case attest.PayloadType:
		a, errA := attest.Parse(theirs)
		b, errB := attest.Parse(own)
		if errA != nil || errB != nil {
			return ""
		}
		differ("the builder", a.Summary().Builder, b.Summary().Builder)
		differ("the commit", a.Summary().Commit, b.Summary().Commit)
		differ("what it was built with", strings.Join(a.Summary().From, " "), strings.Join(b.Summary().From, " "))
	}
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(cleaned(words), "; ")
}
