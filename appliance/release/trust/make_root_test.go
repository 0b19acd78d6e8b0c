package trust_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/envelope"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

func keyID(name string) string { return envelope.KeyID(public(name)[0]) }

func keyText(name string) string {
	return fmt.Sprintf(`{"keyid":"%s","public_key":"%s"}`, keyID(name), base64.StdEncoding.EncodeToString(public(name)[0]))
}

func keysText(names string, more ...string) string {
	var all []string
	for _, name := range strings.Fields(names) {
		all = append(all, keyText(name))
	}
	return "[" + strings.Join(append(all, more...), ",") + "]"
}

func roleText(names, threshold string) string {
	ids := []string{}
	for _, name := range strings.Fields(names) {
		ids = append(ids, `"`+keyID(name)+`"`)
	}
	return `{"keyids":[` + strings.Join(ids, ",") + `],"threshold":` + threshold + `}`
}

// rolesText is the good roles with some changed; "" leaves one out.
func rolesText(change fields) string {
	roles := fields{"root": roleText("root1 root2", "2"), "release": roleText("a b c", "2")}
	maps.Copy(roles, change)
	var members []string
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		if roles[name] != "" {
			members = append(members, `"`+name+`":`+roles[name])
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// rootPayload is a good root with some members changed, as payload is a
// manifest.
func rootPayload(change fields) string {
	good := fields{
		"version": "1", "expires": `"2036-01-01T00:00:00Z"`,
		"keys": keysText("root1 root2 a b c"), "roles": rolesText(nil),
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

func TestMakeRootVectors(t *testing.T) {
	v := &vectors{t: t, dir: "root", files: map[string][]byte{}}
	var cases []rootCase
	add := func(file, data, code, why string) {
		v.add(file+".json", []byte(data))
		cases = append(cases, rootCase{File: file + ".json", Code: code, Why: why})
	}
	text := rootPayload(nil)
	good := sign(t, trust.RootType, text, "root1 root2")
	add("good", good, "", "both root keys have signed")
	add("good-stranger", sign(t, trust.RootType, text, "stranger root2 root1 a"), "", "more signatures take nothing away")
	add("signature-none", sign(t, trust.RootType, text, ""), "signature", "no signatures")
	add("signature-stranger", sign(t, trust.RootType, text, "stranger other"), "signature", "signed by strangers")
	add("signature-release-keys", sign(t, trust.RootType, text, "a b c"), "signature", "release keys may not sign a root")
	add("signature-payload", strings.Replace(good, base64.StdEncoding.EncodeToString([]byte(text)),
		base64.StdEncoding.EncodeToString([]byte(rootPayload(fields{"version": "2"}))), 1), "signature", "signatures of another root")
	add("threshold-one", sign(t, trust.RootType, text, "root1"), "threshold", "one of two")
	add("threshold-twice", sign(t, trust.RootType, text, "root1 root1"), "threshold", "signatures by one key count once")
	add("threshold-release-key", sign(t, trust.RootType, text, "root1 a"), "threshold", "a release key does not count for a root")
	add("format-type", sign(t, manifest.PayloadType, text, "root1 root2"), "format", "an envelope that says it holds a release")
	add("format-trailing", good+"x", "format", "bytes after the envelope")
	add("size", good, "size", "over 1 MiB")
	cases[len(cases)-1].PadTo = 1<<20 + 1

	// From here on both root keys have signed what is said.
	many := ""
	for i := range 28 {
		many += fmt.Sprintf(" extra%d", i)
	}
	shorter := base64.StdEncoding.EncodeToString(public("a")[0][:31])
	roles := func(change fields) fields { return fields{"roles": rolesText(change)} }
	for _, c := range []struct {
		file, code, why string
		change          fields
	}{
		{"good-unknown", "", "unknown fields and unknown roles are ignored", fields{"+": `,"spec":"1.1"`, "roles": rolesText(fields{"timestamp": roleText("a", "1")})}},
		{"good-channel-role", "", "a channel's own role", roles(fields{"release/nightly": roleText("c", "1")})},
		{"good-expired", "", "expiry is judged when the root is used, so that a boot outlives it", fields{"expires": `"2001-01-01T00:00:00Z"`}},
		{"version-zero", "format", "version 0", fields{"version": "0"}},
		{"version-over", "format", "version 2^53", fields{"version": "9007199254740992"}},
		{"version-twice", "format", "version comes twice", fields{"+": `,"version":2`}},
		{"version-case", "format", "version comes in two cases", fields{"+": `,"Version":2`}},
		{"expires-missing", "format", "no expires", fields{"expires": ""}},
		{"expires-date", "format", "a date is not a time", fields{"expires": `"2036-01-01"`}},
		{"key-wrong-id", "format", "a key under the id of another: it would count twice", fields{"keys": keysText("root1 root2 a c", `{"keyid":"`+keyID("b")+`","public_key":"`+base64.StdEncoding.EncodeToString(public("a")[0])+`"}`)}},
		{"key-upper-id", "format", "ids are lower-case hex", fields{"keys": strings.Replace(keysText("root1 root2 a b c"), keyID("a"), strings.ToUpper(keyID("a")), 1)}},
		{"key-twice", "format", "a key comes twice", fields{"keys": keysText("root1 root2 a b c a")}},
		{"key-short", "format", "a key of 31 bytes", fields{"keys": keysText("root1 root2 a b c", `{"keyid":"`+envelope.KeyID(public("a")[0][:31])+`","public_key":"`+shorter+`"}`)}},
		{"key-base64", "format", "a key that is no base64", fields{"keys": keysText("root1 root2 a b c", `{"keyid":"x","public_key":"*"}`)}},
		{"keys-33", "format", "33 keys, at most 32", fields{"keys": keysText("root1 root2 a b c" + many)}},
		{"roles-33", "format", "33 roles, at most 32", roles(manyRoles(31))},
		{"role-no-root", "format", "no role root", roles(fields{"root": ""})},
		{"role-no-release", "format", "no role release", roles(fields{"release": ""})},
		{"role-unknown-key", "format", "a role with a key that is not there", roles(fields{"release": roleText("a b stranger", "2")})},
		{"role-key-twice", "format", "one key twice in a role: threshold 2 would be 1", roles(fields{"release": roleText("a a", "2")})},
		{"role-threshold-zero", "format", "a threshold of 0 lets everybody in", roles(fields{"release": roleText("a b", "0")})},
		{"role-threshold-negative", "format", "a negative threshold", roles(fields{"release": roleText("a b", "-1")})},
		{"role-threshold-over", "format", "a threshold nobody can meet", roles(fields{"release": roleText("a b", "3")})},
		{"role-threshold-missing", "format", "no threshold", roles(fields{"release": `{"keyids":["` + keyID("a") + `"]}`})},
		{"role-empty", "format", "a role of nobody", roles(fields{"release": roleText("", "1")})},
		{"role-channel-empty", "format", "a channel's role of nobody", roles(fields{"release/nightly": roleText("", "0")})},
	} {
		add(c.file, sign(t, trust.RootType, rootPayload(c.change), "root1 root2"), c.code, c.why)
	}
	v.settle(cases)
}

func manyRoles(n int) fields {
	roles := fields{}
	for i := range n {
		roles[fmt.Sprintf("x%d", i)] = roleText("a", "1")
	}
	return roles
}
