package trust_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

const (
	noon = "2026-06-01T12:00:00Z" // the vectors' usual now
	hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// fields are a payload's members as JSON text, so that a vector can hold what
// no encoder would write.
type fields map[string]string

func artifact(size string) string { return `{"size":` + size + `,"sha256":"` + hash + `"}` }

func artifacts(more ...string) string {
	all := append([]string{`"kernel":` + artifact("16500000"), `"initramfs":` + artifact("1200000"), `"rootfs":` + artifact("18000000")}, more...)
	return "{" + strings.Join(all, ",") + "}"
}

// payload is the good manifest with some members changed; "" leaves one out,
// the key "+" is text put before the closing brace.
func payload(change fields) string {
	good := fields{
		"version": "42", "name": `"2026.5.1"`, "channel": `"stable"`, "arch": `"x86_64"`,
		"created": `"2026-05-01T00:00:00Z"`, "expires": `"2026-10-28T00:00:00Z"`,
		"cmdline": `"loglevel=6 panic=10 oops=panic"`, "artifacts": artifacts(),
	}
	maps.Copy(good, change)
	more := good["+"]
	delete(good, "+")
	var members []string
	for _, name := range slices.Sorted(maps.Keys(good)) {
		if good[name] != "" {
			members = append(members, `"`+name+`":`+good[name])
		}
	}
	return "{" + strings.Join(members, ",") + more + "}"
}

func sign(t *testing.T, payloadType, payload string, signers string) string {
	t.Helper()
	data := `{"payloadType":"` + payloadType + `","payload":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `","signatures":[`
	for i, name := range strings.Fields(signers) {
		if i > 0 {
			data += ","
		}
		one, err := envelope.Sign(payloadType, []byte(payload), key(name))
		if err != nil {
			t.Fatal(err)
		}
		_, sig, _ := bytes.Cut(one, []byte(`"signatures":[`))
		data += string(bytes.TrimSuffix(sig, []byte("]}\n")))
	}
	return data + "]}\n"
}

// vectorRoots are the roots that manifest vectors are read under.
func vectorRoots(t *testing.T, v *vectors) {
	for file, expires := range map[string]time.Time{
		"root.json":         time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		"root-expired.json": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		data, err := trust.SignRoot(trust.RootSpec{Version: 1, Expires: expires, Roles: map[string]trust.RoleSpec{
			"root":            {Keys: public("root1", "root2"), Threshold: 2},
			"release":         {Keys: public("a", "b", "c"), Threshold: 2},
			"release/nightly": {Keys: public("n"), Threshold: 1},
		}}, key("root1"), key("root2"))
		if err != nil {
			t.Fatal(err)
		}
		v.add(file, data)
	}
}

func TestMakeManifestVectors(t *testing.T) {
	v := &vectors{t: t, dir: "manifest", files: map[string][]byte{}}
	vectorRoots(t, v)
	var cases []manifestCase
	add := func(file, envelope, code, why string, edits ...func(*manifestCase)) {
		v.add(file+".json", []byte(envelope))
		c := manifestCase{File: file + ".json", Root: "root.json", Channel: "stable", Arch: "x86_64", Now: noon, Code: code, HeldCode: code, Why: why}
		for _, edit := range edits {
			edit(&c)
		}
		cases = append(cases, c)
	}
	good := sign(t, manifest.PayloadType, payload(nil), "a b")
	digest := names.Sum([]byte(payload(nil))).String()

	for _, c := range envelopeCases(t, good) {
		add(c.file, c.text, c.code, c.why, c.edits...)
	}
	for _, c := range payloadCases() {
		add(c.file, sign(t, manifest.PayloadType, c.text, "a b"), c.code, c.why)
	}

	held := func(c *manifestCase) { c.HeldCode = "" }
	at := func(now string) func(*manifestCase) { return func(c *manifestCase) { c.Now = now } }
	floor := func(n uint64, digest string) func(*manifestCase) {
		return func(c *manifestCase) { c.Floor, c.FloorDigest = n, digest }
	}
	again := func(n int) string { return fmt.Sprintf("policy-%02d", n) }
	for i, c := range []struct {
		code, why string
		edits     []func(*manifestCase)
	}{
		{"channel", "testing was asked for", []func(*manifestCase){func(c *manifestCase) { c.Channel = "testing" }}},
		{"arch", "arm64 was asked for", []func(*manifestCase){func(c *manifestCase) { c.Arch = "arm64" }}},
		{"", "any channel and arch were asked for", []func(*manifestCase){func(c *manifestCase) { c.Channel, c.Arch = "any", "any" }}},
		{"expired", "the second it expires it is expired", []func(*manifestCase){at("2026-10-28T00:00:00Z"), held}},
		{"", "a second before, it is good", []func(*manifestCase){at("2026-10-27T23:59:59Z")}},
		{"expired", "the clock says 2100", []func(*manifestCase){at("2100-01-01T00:00:00Z"), held}},
		{"", "the clock says 1970; the floor of the clock is its reader's to set", []func(*manifestCase){at("1970-01-01T00:00:00Z")}},
		{"expired", "the root is expired: nothing new is taken under it, what is held still boots", []func(*manifestCase){func(c *manifestCase) { c.Root = "root-expired.json" }, held}},
		{"rollback", "below the floor", []func(*manifestCase){floor(43, ""), held}},
		{"", "at the floor, whose digest is not known", []func(*manifestCase){floor(42, "")}},
		{"", "the very release at the floor", []func(*manifestCase){floor(42, digest)}},
		{"equivocation", "at the floor, but another payload", []func(*manifestCase){floor(42, "sha256:"+hash), held}},
		{"", "above the floor", []func(*manifestCase){floor(41, "sha256:"+hash)}},
	} {
		add(again(i), good, c.code, c.why, c.edits...)
	}
	v.settle(cases)
}

type vectorCase struct {
	file, text, code, why string
	edits                 []func(*manifestCase)
}

func envelopeCases(t *testing.T, good string) []vectorCase {
	const relType = manifest.PayloadType
	text := payload(nil)
	b64 := base64.StdEncoding.EncodeToString([]byte(text))
	// A payload of a length that needs padding, and one whose base64 differs
	// between the alphabets.
	odd := payload(fields{"name": `"~~~???>>>"`})
	for len(odd)%3 != 1 {
		odd = strings.TrimSuffix(odd, "}") + " }"
	}
	oddSigned := sign(t, relType, odd, "a b")
	oddB64 := base64.StdEncoding.EncodeToString([]byte(odd))
	nightly := payload(fields{"channel": `"nightly"`})
	onNightly := func(c *manifestCase) { c.Channel = "nightly" }
	ids := func(s, id string) string {
		for _, name := range []string{"a", "b"} {
			s = strings.ReplaceAll(s, envelope.KeyID(public(name)[0]), id)
		}
		return s
	}
	claim := strings.Replace(sign(t, relType, text, "stranger other"), envelope.KeyID(public("stranger")[0]), envelope.KeyID(public("a")[0]), 1)
	claim = strings.Replace(claim, envelope.KeyID(public("other")[0]), envelope.KeyID(public("b")[0]), 1)
	twice := strings.Replace(sign(t, relType, text, "a a"), envelope.KeyID(public("a")[0]), envelope.KeyID(public("b")[0]), 1)
	otherPayload := base64.StdEncoding.EncodeToString([]byte(payload(fields{"version": "43"})))
	edits := func(e ...func(*manifestCase)) []func(*manifestCase) { return e }
	return []vectorCase{
		{"good", good, "", "two of three release keys have signed", nil},
		{"good-spaces", "\n " + strings.ReplaceAll(good, ",", " ,\n"), "", "white space around JSON means nothing", nil},
		{"good-url-safe", strings.Replace(oddSigned, oddB64, base64.URLEncoding.EncodeToString([]byte(odd)), 1), "", "URL-safe base64 is read", nil},
		{"good-three", sign(t, relType, text, "a b c"), "", "more than must have signed", nil},
		{"good-and-stranger", sign(t, relType, text, "stranger a other b"), "", "a stranger's signature takes nothing away", nil},
		{"good-no-keyid", ids(good, ""), "", "keyid is a hint only", nil},
		{"good-wrong-keyid", ids(good, strings.Repeat("0", 64)), "", "keyid is a hint only", nil},
		{"good-unknown-field", strings.Replace(good, "{", `{"more":{"a":[1,null]},`, 1), "", "an envelope's unknown fields are ignored", nil},
		{"good-nightly", sign(t, relType, nightly, "n"), "", "nightly has a role of its own", edits(onNightly)},
		{"signature-none", sign(t, relType, text, ""), "signature", "no signatures", nil},
		{"signature-stranger", sign(t, relType, text, "stranger other"), "signature", "signed by strangers", nil},
		{"signature-claimed", claim, "signature", "strangers who claim the key ids of others", nil},
		{"signature-payload", strings.Replace(good, b64, otherPayload, 1), "signature", "signatures of another payload", nil},
		{"signature-type", strings.Replace(sign(t, "application/json", text, "a b"), "application/json", relType, 1), "signature", "the signature covers the payload type", nil},
		{"signature-root-keys", sign(t, relType, text, "root1 root2"), "signature", "root keys may not sign releases", nil},
		{"signature-nightly-key", sign(t, relType, text, "n"), "signature", "the key of nightly may not sign stable", nil},
		{"signature-channel-role", sign(t, relType, nightly, "a b"), "signature", "the role of nightly replaces role release", edits(onNightly)},
		{"signature-short", strings.Replace(good, `"sig":"`, `"sig":"AAAA","old":"`, 2), "signature", "signatures of three bytes", nil},
		{"threshold-one", sign(t, relType, text, "a"), "threshold", "one of two", nil},
		{"threshold-same-key", sign(t, relType, text, "a a a"), "threshold", "signatures by one key count once", nil},
		{"threshold-two-ids", twice, "threshold", "signatures by one key count once, whatever id they claim", nil},
		{"threshold-stranger", sign(t, relType, text, "a stranger"), "threshold", "a stranger does not count", nil},
		{"threshold-root-key", sign(t, relType, text, "a root1"), "threshold", "a root key does not count for a release", nil},
		{"threshold-nightly-key", sign(t, relType, text, "a n"), "threshold", "the key of nightly does not count for stable", nil},
		{"size", good, "size", "an envelope over 1 MiB", edits(func(c *manifestCase) { c.PadTo = 1<<20 + 1 })},
		{"good-size", good, "", "an envelope of exactly 1 MiB", edits(func(c *manifestCase) { c.PadTo = 1 << 20 })},
		{"format-empty", "", "format", "an empty file", nil},
		{"format-text", "not found\n", "format", "no JSON", nil},
		{"format-array", "[" + strings.TrimSpace(good) + "]", "format", "an array", nil},
		{"format-cut", good[:len(good)/2], "format", "half an envelope", nil},
		{"format-trailing", good + "{}", "format", "bytes after the envelope", nil},
		{"format-bom", "\ufeff" + good, "format", "a byte order mark", nil},
		{"format-utf8", strings.Replace(good, "{", "{\"more\":\"\xff\",", 1), "format", "invalid UTF-8", nil},
		{"format-duplicate", strings.Replace(good, "{", `{"payload":"`+otherPayload+`",`, 1), "format", "payload comes twice", nil},
		{"format-case", strings.Replace(good, "{", `{"Payload":"`+otherPayload+`",`, 1), "format", "payload comes in two cases", nil},
		{"format-escaped-duplicate", strings.Replace(good, "{", `{"p\u0061yload":"`+otherPayload+`",`, 1), "format", "payload comes twice, once in disguise", nil},
		{"format-type", sign(t, trust.RootType, text, "a b"), "format", "an envelope that says it holds a root", nil},
		{"format-no-type", strings.Replace(good, "payloadType", "payload_type", 1), "format", "no payloadType", nil},
		{"format-no-payload", strings.Replace(good, `"payload":`, `"other":`, 1), "format", "no payload", nil},
		{"format-no-signatures", strings.Replace(good, `"signatures"`, `"others"`, 1), "format", "no list of signatures", nil},
		{"format-null-signatures", `{"payloadType":"` + relType + `","payload":"` + b64 + `","signatures":null}`, "format", "a null for a list of signatures", nil},
		{"format-many-signatures", sign(t, relType, text, strings.Repeat("a b ", 17)), "format", "34 signatures, at most 32", nil},
		{"format-base64-newline", strings.Replace(good, b64[:8], b64[:8]+`\n`, 1), "format", "a line break in base64", nil},
		{"format-base64-unpadded", strings.Replace(oddSigned, oddB64, strings.TrimRight(oddB64, "="), 1), "format", "base64 without its padding", nil},
		{"format-base64-bits", strings.Replace(oddSigned, oddB64, stray(oddB64), 1), "format", "base64 with bits that mean nothing", nil},
		{"format-base64-mixed", strings.Replace(good, b64, "-_+/"+b64, 1), "format", "both alphabets of base64", nil},
		{"format-signature-base64", strings.Replace(good, `"sig":"`, `"sig":"*`, 1), "format", "a signature that is no base64", nil},
	}
}

// stray sets an unused bit of the last base64 digit, of a text ending in "==".
func stray(b64 string) string {
	i := len(b64) - 3
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	return b64[:i] + string(digits[strings.IndexByte(digits, b64[i])|1]) + "=="
}
