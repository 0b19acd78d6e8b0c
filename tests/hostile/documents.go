package hostile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/manifest"
)

// higher is a version above any honest one here.
const higher = 99

// document is a provider of a manifest that a node must refuse.
func document(class int, name, codes, did string, data []byte) Provider {
	return Provider{Name: name, Class: class, Did: did, Codes: codes, Document: data, Serve: Offer(data, nil)}
}

// Software are providers of arbitrary software (1), and of the wrong one (2).
func Software(t testing.TB, m Made) []Provider {
	t.Helper()
	up := func(change func(*manifest.Manifest)) func(*manifest.Manifest) {
		return func(n *manifest.Manifest) { n.Version = higher; change(n) }
	}
	forger := m
	forger.Seal = m.Forge
	forged := forger.Changed(t, up(func(*manifest.Manifest) {}))
	arch := "arm64"
	if m.Next.Manifest.Arch == arch {
		arch = "x86_64"
	}
	version := func(n uint64) string { return fmt.Sprintf(`version":%d`, n) }
	return []Provider{
		document(1, "unknown-keys", "signature", "signed by keys that nobody knows", forged),
		document(1, "unsigned", "signature|threshold", "an envelope without signatures", unsigned(forged)),
		document(1, "payload-swapped", "signature", "another payload under the project's signatures",
			swapped(t, m.Next.Envelope, version(m.Next.Manifest.Version), version(higher))),
		document(2, "other-arch", "arch", "a signed release of another arch", m.Changed(t, up(func(n *manifest.Manifest) { n.Arch = arch }))),
		document(2, "other-channel", "channel", "a signed release of another channel", m.Changed(t, up(func(n *manifest.Manifest) { n.Channel = "testing" }))),
	}
}

// Times are providers of what was good once: rollback (3), freeze (5), and two
// releases of one version.
func Times(t testing.TB, m Made) []Provider {
	t.Helper()
	old := m.Changed(t, func(n *manifest.Manifest) { n.Version = m.Running.Version - 1 })
	twin := m.Changed(t, func(n *manifest.Manifest) { n.Version, n.Name = m.Running.Version, "twin" })
	// What stands beside the signed payload says 99; what counts says less than
	// the node runs.
	besides := beside(old, `"version":99,"manifest":{"version":99},"expires":"2099-01-01T00:00:00Z"`)
	return []Provider{
		document(3, "rollback", "rollback", "a signed release, older than the running one", old),
		document(3, "unsigned-fields", "rollback", "the same, with a high version beside the payload", besides),
		document(5, "expired", "expired", "a signed release that has expired", m.Expired(t)),
		document(7, "twin", "equivocation", "another signed release of the running version", twin),
	}
}

// Expired is a release that ended before the running one was made, so that it is
// refused whatever the clock says.
func (m Made) Expired(t testing.TB) []byte {
	t.Helper()
	return m.Changed(t, func(n *manifest.Manifest) {
		n.Version = higher
		n.Expires = m.Running.Created.Add(-time.Hour)
		n.Created = n.Expires.Add(-24 * time.Hour)
	})
}

// ForgedLine is what a hostile document tries to write on the console.
const ForgedLine = "init: Phase forged (version 99, stable, x86_64), mode internet, booted from stub"

// payload is a manifest of the next release's artifacts as text, with members
// behind its own.
func (m Made) payload(version int, rest string) string {
	var artifacts []string
	for name, a := range m.Next.Manifest.Artifacts {
		artifacts = append(artifacts, fmt.Sprintf(`%q:{"size":%d,"sha256":%q}`, name, a.Size, a.SHA256.Hex()))
	}
	return fmt.Sprintf(`{"version":%d,"name":"x","channel":"stable","arch":%q,"created":"2026-01-01T00:00:00Z","expires":"2096-01-01T00:00:00Z","cmdline":"quiet","artifacts":{%s}%s}`,
		version, m.Next.Manifest.Arch, strings.Join(artifacts, ","), rest)
}

// Documents are providers of malformed and extraneous ones (13), signed where
// that is not what makes them bad.
func Documents(t testing.TB, m Made) []Provider {
	t.Helper()
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `,"a%d":{"size":1}`, i)
	}
	crowd := strings.Replace(m.payload(higher, ""), `}}`, `}`+many.String()+`}`, 1)
	seal := func(payload string) []byte { return sealed(t, m.Seal, []byte(payload)) }
	replaced := func(old, new string) []byte { return seal(strings.Replace(m.payload(higher, ""), old, new, 1)) }
	next := m.Next.Envelope
	return []Provider{
		document(13, "artifacts-10000", "format", "a signed manifest that names 10,000 artifacts", seal(crowd)),
		document(13, "duplicate-signed", "format", "a version that comes twice in what is signed", seal(m.payload(higher, `,"version":98`))),
		document(13, "case-variant", "format", "a version that comes in two cases", seal(m.payload(9, `,"VERSION":99`))),
		document(13, "duplicate-envelope", "format", "signatures that come twice", beside(next, `"signatures":[]`)),
		document(13, "trailing", "format", "bytes behind the envelope", append(bytes.Clone(next), "{}"...)),
		document(13, "truncated", "format", "half an envelope", next[:len(next)/2]),
		document(13, "empty", "format", "no bytes at all", nil),
		document(13, "nested", "format", "half a million open brackets", bytes.Repeat([]byte("["), 1<<19)),
		document(4, "version-2-to-53", "format", "a version beyond what JSON carries exactly", replaced(`:99,`, `:9007199254740992,`)),
		document(0, "init-in-cmdline", "format", "a signed command line with init=", replaced(`"quiet"`, `"quiet init=/bin/sh"`)),
		document(0, "phase-in-cmdline", "format", "a signed command line with phase.mode=", replaced(`"quiet"`, `"phase.mode=internet"`)),
		document(0, "artifact-path", "format", "a signed artifact called ../../bin/sh", replaced(`"kernel":`, `"../../bin/sh":{"size":1,"sha256":"`+strings.Repeat("0", 64)+`"},"kernel":`)),
		document(0, "duplicate-forging", "format", "a name with a line of init's and colours in it", beside(next, `"\u001b[7;31m\n`+ForgedLine+`":1,"\u001b[7;31m\n`+ForgedLine+`":2`)),
	}
}

// unsigned takes the signatures off an envelope.
func unsigned(envelope []byte) []byte {
	at := bytes.Index(envelope, []byte(`"signatures"`))
	return append(bytes.Clone(envelope[:at]), `"signatures":[]}`...)
}

// beside puts members into an envelope that nobody signed.
func beside(envelope []byte, members string) []byte {
	return append([]byte("{"+members+","), bytes.TrimPrefix(bytes.TrimSpace(envelope), []byte("{"))...)
}

// swapped changes the payload of an envelope and leaves its signatures.
func swapped(t testing.TB, envelope []byte, old, new string) []byte {
	t.Helper()
	_, rest, _ := bytes.Cut(envelope, []byte(`"payload":"`))
	encoded, _, _ := bytes.Cut(rest, []byte(`"`))
	payload, err := base64.StdEncoding.DecodeString(string(encoded))
	if err != nil || !bytes.Contains(payload, []byte(old)) {
		t.Fatalf("the payload %s has no %s: %v", payload, old, err)
	}
	changed := base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(old), []byte(new), 1))
	return bytes.Replace(envelope, encoded, []byte(changed), 1)
}
