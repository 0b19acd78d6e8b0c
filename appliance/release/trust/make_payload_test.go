package trust_test

import (
	"fmt"
	"strings"
)

// payloadCases are manifests that enough keys have signed, and that are
// refused, or not, for what they say.
func payloadCases() []vectorCase {
	var cases []vectorCase
	add := func(file, code, why string, change fields) {
		cases = append(cases, vectorCase{file: file, text: payload(change), code: code, why: why})
	}
	raw := func(file, text, why string) {
		cases = append(cases, vectorCase{file: file, text: text, code: "format", why: why})
	}
	quoted := func(s string) string { return fmt.Sprintf("%q", s) }

	add("payload-unknown-fields", "", "unknown fields are ignored", fields{"+": `,"chunks":{"size":10},"notes":[true]`})
	raw("payload-array", "[]", "an array")
	raw("payload-empty", "", "an empty payload")
	raw("payload-trailing", payload(nil)+"x", "bytes after the manifest")
	raw("payload-utf8", payload(fields{"+": ",\"x\":\"\xc3\x28\""}), "invalid UTF-8")
	raw("payload-surrogate", payload(fields{"+": `,"x":"\ud800"`}), "half a surrogate pair")
	raw("payload-deep", payload(fields{"+": `,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)}), "nested 100 deep")
	raw("payload-duplicate", payload(fields{"+": `,"version":43`}), "version comes twice")
	raw("payload-case", payload(fields{"+": `,"VERSION":43`}), "version comes in two cases")
	raw("payload-case-alone", payload(fields{"version": "", "Version": "43"}), "version in another case")
	raw("payload-case-optional", payload(fields{"cmdline": "", "CmdLine": `"quiet"`}), "cmdline in another case")
	raw("payload-case-kelvin", payload(fields{"+": ",\"\u212aey\":1,\"key\":2"}), "two names that fold to one: U+212A is a k")
	raw("payload-nested-duplicate", payload(fields{"+": `,"x":[{"a":1,"b":{},"a":2}]`}), "a name twice, deep in an unknown field")
	raw("payload-nested-case", payload(fields{"artifacts": artifacts(`"Kernel":` + artifact("5"))}), "kernel comes in two cases")
	raw("payload-big-unknown", payload(fields{"+": `,"x":9007199254740992`}), "an integer of 2^53, in an unknown field")
	raw("payload-big-float", payload(fields{"+": `,"x":1e300`}), "a number no integer of a double holds")

	for _, c := range []struct{ file, version, code, why string }{
		{"version-max", "9007199254740991", "", "2^53-1, the highest version"},
		{"version-over", "9007199254740992", "format", "2^53"},
		{"version-zero", "0", "format", "zero"},
		{"version-negative", "-1", "format", "negative"},
		{"version-string", `"42"`, "format", "a string"},
		{"version-fraction", "42.0", "format", "a fraction, though a whole one"},
		{"version-exponent", "42e0", "format", "an exponent"},
		{"version-null", "null", "format", "null"},
		{"version-missing", "", "format", "missing"},
	} {
		add(c.file, c.code, "version: "+c.why, fields{"version": c.version})
	}
	for _, c := range []struct{ file, member, value, code, why string }{
		{"name-missing", "name", "", "format", "no name"},
		{"name-control", "name", `"a\u001b[2J"`, "format", "a terminal escape in the name"},
		{"name-long", "name", quoted(strings.Repeat("n", 129)), "format", "a name of 129 bytes"},
		{"channel-unknown", "channel", `"beta"`, "format", "no such channel"},
		{"channel-case", "channel", `"Stable"`, "format", "channels are lower case"},
		{"channel-missing", "channel", "", "format", "no channel"},
		{"arch-alias", "arch", `"amd64"`, "format", "aliases are for people; the wire says x86_64"},
		{"arch-missing", "arch", "", "format", "no arch"},
		{"created-missing", "created", "", "format", "no created"},
		{"created-null", "created", "null", "format", "created is null"},
		{"created-early", "created", `"1969-12-31T23:59:59Z"`, "format", "created before 1970"},
		{"expires-missing", "expires", "", "format", "no expires: it would be good for ever"},
		{"expires-date", "expires", `"2026-10-28"`, "format", "a date is not a time"},
		{"expires-number", "expires", "1793145600", "format", "a number is not a time"},
		{"expires-comma", "expires", `"2026-10-28T00:00:00,5Z"`, "format", "a comma is not RFC 3339"},
		{"expires-late", "expires", `"9999-12-31T23:59:59-01:00"`, "format", "year 10000 in UTC"},
		{"expires-offset", "expires", `"2026-10-28T02:00:00.25+02:00"`, "", "an offset and a fraction are RFC 3339"},
		{"cmdline-missing", "cmdline", "", "format", "no cmdline"},
		{"cmdline-empty", "cmdline", `""`, "", "an empty command line"},
		{"cmdline-longest", "cmdline", quoted(strings.Repeat("c", 2047)), "", "2047 bytes"},
		{"cmdline-long", "cmdline", quoted(strings.Repeat("c", 2048)), "format", "2048 bytes"},
		{"cmdline-phase", "cmdline", `"quiet phase.mode=internet"`, "format", "phase.* is the owner's to say"},
		{"cmdline-init", "cmdline", `"init=/bin/sh quiet"`, "format", "init="},
		{"cmdline-rdinit", "cmdline", `"quiet rdinit=/bin/sh"`, "format", "rdinit="},
		{"cmdline-root", "cmdline", `"quiet root=/dev/sdb1"`, "format", "root="},
		{"cmdline-quoted", "cmdline", `"quiet \"init=/bin/sh\""`, "format", "the kernel takes quotes off"},
		{"cmdline-quote-open", "cmdline", `"quiet x=\"y"`, "format", "an open quote swallows what is appended"},
		{"cmdline-dashes", "cmdline", `"quiet -- x"`, "format", "after -- the kernel reads no more"},
		{"cmdline-tab", "cmdline", `"quiet\tdebug"`, "format", "a tab is not printable"},
		{"cmdline-newline", "cmdline", `"quiet\ninit=/bin/sh"`, "format", "a line break"},
		{"cmdline-unicode", "cmdline", `"quiet ü"`, "format", "not ASCII"},
		{"cmdline-other-init", "cmdline", `"initcall_debug rootwait quiet=\"a b\""`, "", "words that only begin alike"},
		{"artifacts-missing", "artifacts", "", "format", "no artifacts"},
		{"artifacts-no-kernel", "artifacts", `{"initramfs":` + artifact("1") + `,"rootfs":` + artifact("1") + `}`, "format", "no kernel"},
		{"artifacts-no-initramfs", "artifacts", `{"kernel":` + artifact("1") + `,"rootfs":` + artifact("1") + `}`, "format", "no initramfs"},
		{"artifacts-no-rootfs", "artifacts", `{"kernel":` + artifact("1") + `,"initramfs":` + artifact("1") + `}`, "format", "no rootfs"},
		{"artifacts-empty-kernel", "artifacts", `{"kernel":` + artifact("0") + `,"initramfs":` + artifact("1") + `,"rootfs":` + artifact("1") + `}`, "format", "a kernel of no bytes"},
		{"rollout", "rollout", `{"percent":10}`, "", "a tenth of the fleet"},
		{"rollout-none", "rollout", `{"percent":0}`, "", "no node at all"},
		{"rollout-all", "rollout", `{"percent":100,"seed":"spring","ring":"a"}`, "", "all nodes, a seed, an unknown field"},
		{"rollout-over", "rollout", `{"percent":101}`, "format", "101 percent"},
		{"rollout-negative", "rollout", `{"percent":-1}`, "format", "-1 percent"},
		{"rollout-fraction", "rollout", `{"percent":0.5}`, "format", "half a percent"},
		{"rollout-no-percent", "rollout", `{"seed":"spring"}`, "format", "no percentage"},
		{"rollout-null-percent", "rollout", `{"percent":null}`, "format", "the percentage is null"},
		{"rollout-number", "rollout", "10", "format", "a rollout that is a number"},
		{"rollout-seed-long", "rollout", `{"percent":10,"seed":"` + strings.Repeat("s", 129) + `"}`, "format", "a seed of 129 bytes"},
		{"rollout-seed-control", "rollout", `{"percent":10,"seed":"a\nb"}`, "format", "a line feed in the seed"},
		{"artifacts-64", "artifacts", artifacts(extra(61)...), "", "64 artifacts"},
		{"artifacts-65", "artifacts", artifacts(extra(62)...), "format", "65 artifacts"},
	} {
		add(c.file, c.code, c.why, fields{c.member: c.value})
	}
	for _, c := range []struct{ file, artifact, code, why string }{
		{"artifact-unknown", `"sbom.json":` + artifact("0"), "", "artifacts of other names may be there"},
		{"artifact-gib", `"x":` + artifact("1073741824"), "", "1 GiB"},
		{"artifact-over-gib", `"x":` + artifact("1073741825"), "format", "one byte over 1 GiB"},
		{"artifact-negative", `"x":` + artifact("-1"), "format", "a negative size"},
		{"artifact-no-size", `"x":{"sha256":"` + hash + `"}`, "format", "no size"},
		{"artifact-no-hash", `"x":{"size":1}`, "format", "no sha256"},
		{"artifact-hash-prefix", `"x":{"size":1,"sha256":"sha256:` + hash + `"}`, "format", "in a manifest the hash is bare hex"},
		{"artifact-hash-upper", `"x":{"size":1,"sha256":"` + strings.ToUpper(hash) + `"}`, "format", "upper-case hex"},
		{"artifact-hash-short", `"x":{"size":1,"sha256":"` + hash[:62] + `"}`, "format", "a short hash"},
		{"artifact-hash-nohex", `"x":{"size":1,"sha256":"` + hash[:63] + `g"}`, "format", "not hex"},
		{"artifact-name-path", `"../x":` + artifact("1"), "format", "a name that is a path"},
		{"artifact-name-dot", `".x":` + artifact("1"), "format", "a hidden name"},
		{"artifact-name-empty", `"":` + artifact("1"), "format", "no name"},
		{"artifact-name-long", quoted(strings.Repeat("x", 65)) + `:` + artifact("1"), "format", "a name of 65 bytes"},
		{"artifact-name-file", `"vmlinuz":` + artifact("1"), "format", "the file name of the kernel"},
		{"artifact-name-manifest", `"manifest.json":` + artifact("1"), "format", "the file name of the manifest"},
		{"artifact-name-part", `"vmlinuz.part":` + artifact("1"), "format", "the file name of a download under way"},
	} {
		add(c.file, c.code, "an artifact: "+c.why, fields{"artifacts": artifacts(c.artifact)})
	}
	return cases
}

func extra(n int) []string {
	var more []string
	for i := range n {
		more = append(more, fmt.Sprintf(`"extra-%d":%s`, i, artifact("1")))
	}
	return more
}
