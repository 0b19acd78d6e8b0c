package machines

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/manifest"
	"phase/tests/lab"
)

// The manifests that a node must refuse, by the classes of attack. A hostile
// provider may hold anything the project ever signed, and anything that others
// sign.

// software: arbitrary (1), and the wrong one (2).
func software(t *testing.T, w *world) []hostile {
	t.Helper()
	others, err := w.WithOtherKeys()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := others.Signed(w.next, func(m *manifest.Manifest) { m.Version = 99 })
	if err != nil {
		t.Fatal(err)
	}
	arch := "arm64"
	if w.Arch == arch {
		arch = "x86_64"
	}
	other := w.changed(t, func(m *manifest.Manifest) { m.Arch, m.Version = arch, 99 })
	channel := w.changed(t, func(m *manifest.Manifest) { m.Channel, m.Version = "testing", 99 })
	return []hostile{
		{"unknown-keys", offer(forged.Envelope, nil), "signature"},
		{"unsigned", offer(unsigned(forged.Envelope), nil), "signature|threshold"},
		{"payload-swapped", offer(swapped(t, w.next.Envelope, "version\":20", "version\":99"), nil), "signature"},
		{"other-arch", offer(other.Envelope, nil), "arch"},
		{"other-channel", offer(channel.Envelope, nil), "channel"},
	}
}

// times: rollback (3), freeze (5), and two releases of one version.
func times(t *testing.T, w *world) []hostile {
	t.Helper()
	old := w.changed(t, func(m *manifest.Manifest) { m.Version = stubVersion - 1 })
	twin := w.changed(t, func(m *manifest.Manifest) { m.Version, m.Name = stubVersion, "twin" })
	return []hostile{
		{"rollback", offer(old.Envelope, nil), "rollback"},
		{"twin", offer(twin.Envelope, nil), "equivocation"},
		{"expired", offer(w.expired(t).Envelope, nil), "expired"},
		// What stands beside the signed payload says 99; what counts says 9.
		{"unsigned-fields", offer(beside(old.Envelope, `"version":99,"manifest":{"version":99},"expires":"2099-01-01T00:00:00Z"`), nil), "rollback"},
	}
}

// expired is a release that ended before the stub was made, so that it is
// refused whatever the clock says.
func (w *world) expired(t *testing.T) lab.Release {
	return w.changed(t, func(m *manifest.Manifest) {
		m.Version = 99
		m.Expires = w.stub.Manifest.Created.Add(-time.Hour)
		m.Created = m.Expires.Add(-24 * time.Hour)
	})
}

// forgedLine is what a hostile document tries to write on the console.
const forgedLine = "init: Phase forged (version 99, stable, x86_64), mode internet, booted from stub"

// documents: extraneous and malformed ones (13), signed where that is not what
// makes them bad.
func documents(t *testing.T, w *world) []hostile {
	t.Helper()
	payload := func(version int, rest string) string {
		m := w.next.Manifest
		var artifacts []string
		for name, a := range m.Artifacts {
			artifacts = append(artifacts, fmt.Sprintf(`%q:{"size":%d,"sha256":%q}`, name, a.Size, a.SHA256.Hex()))
		}
		return fmt.Sprintf(`{"version":%d,"name":"x","channel":"stable","arch":%q,"created":"2026-01-01T00:00:00Z","expires":"2096-01-01T00:00:00Z","cmdline":"quiet","artifacts":{%s}%s}`,
			version, m.Arch, strings.Join(artifacts, ","), rest)
	}
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `,"a%d":{"size":1}`, i)
	}
	crowd := strings.Replace(payload(99, ""), `}}`, `}`+many.String()+`}`, 1)
	return []hostile{
		{"artifacts-10000", offer(w.seal(t, crowd), nil), "format"},
		{"duplicate-signed", offer(w.seal(t, payload(99, `,"version":98`)), nil), "format"},
		{"case-variant", offer(w.seal(t, payload(9, `,"VERSION":99`)), nil), "format"},
		{"duplicate-envelope", offer(beside(w.next.Envelope, `"signatures":[]`), nil), "format"},
		{"duplicate-forging", offer(beside(w.next.Envelope, `"\u001b[7;31m\n`+forgedLine+`":1,"\u001b[7;31m\n`+forgedLine+`":2`), nil), "format"},
		{"trailing", offer(append(bytes.Clone(w.next.Envelope), "{}"...), nil), "format"},
		{"truncated", offer(w.next.Envelope[:len(w.next.Envelope)/2], nil), "format"},
		{"empty", offer(nil, nil), "format"},
		{"nested", offer(bytes.Repeat([]byte("["), 1<<19), nil), "format"},
		{"init-in-cmdline", offer(w.seal(t, strings.Replace(payload(99, ""), `"quiet"`, `"quiet init=/bin/sh"`, 1)), nil), "format"},
		{"phase-in-cmdline", offer(w.seal(t, strings.Replace(payload(99, ""), `"quiet"`, `"phase.mode=internet"`, 1)), nil), "format"},
		{"version-2-to-53", offer(w.seal(t, strings.Replace(payload(99, ""), `:99,`, `:9007199254740992,`, 1)), nil), "format"},
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
func swapped(t *testing.T, envelope []byte, old, new string) []byte {
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
