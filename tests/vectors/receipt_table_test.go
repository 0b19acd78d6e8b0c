package vectors

import (
	"strings"

	"phase/appliance/base/envelope"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

func (r *receipts) valid() {
	text := encode(r.t, statement(r.t, r.spec))
	good := sign(r.t, receipt.PayloadType, text, "worker")
	signed := func(name string, change func(o object), why string) {
		r.file(name, edit(r.t, good, change), "", why)
	}
	r.file("good", good, "", "as a worker writes it")
	r.file("good-size", good, "", "exactly 1 MiB", func(c *receiptCase) { c.PadTo = 1 << 20 })
	r.payload("good-spaces", " "+strings.ReplaceAll(text, `":`, `": `)+"\n", "", "what was signed is the text as it stands")
	r.payload("good-escapes", strings.ReplaceAll(text, `"exited"`, `"\u0065xited"`), "", "a string is what its escapes say")
	signed("good-unknown-envelope", func(o object) { o["comment"] = "unsigned" }, "unknown fields of signed documents are ignored")
	signed("good-no-keyid", func(o object) { delete(signature(o, 0), "keyid") }, "the keyid is a hint only")
	signed("good-wrong-keyid", func(o object) { signature(o, 0)["keyid"] = envelope.KeyID(public("stranger")) }, "the keyid is a hint only")
	signed("good-url-safe", func(o object) {
		o["payload"] = urlSafe(o["payload"].(string))
		signature(o, 0)["sig"] = urlSafe(signature(o, 0)["sig"].(string))
	}, "URL-safe base64 is read, too")
	r.file("good-and-stranger", sign(r.t, receipt.PayloadType, text, "stranger", "worker"), "", "one more signature does no harm")
	r.file("good-twice", sign(r.t, receipt.PayloadType, text, "worker", "worker"), "", "nor does the same one again")
	signed("good-and-garbage", func(o object) {
		o["signatures"] = append([]any{object{"keyid": "", "sig": b64("short")}}, o["signatures"].([]any)...)
	}, "nor one that is no signature")

	r.says("good-unknown-statement", func(s, _ object) { s["note"] = object{"by": []any{"someone"}} }, "", "unknown fields are ignored")
	r.says("good-unknown-predicate", func(_, p object) { p["cpu_time_ms"] = 4 }, "", "unknown fields are ignored")
	r.says("good-more-digests", func(s, _ object) { subject(s, 0)["digest"].(object)["sha512"] = "00" }, "", "another digest beside the one that counts")
	r.says("good-nanoseconds", func(_, p object) {
		p["started"], p["finished"] = "2026-11-23T12:00:00.000000001Z", "2026-11-23T12:00:00.000000002Z"
	}, "", "times to the nanosecond")
	r.says("good-offset", func(_, p object) {
		p["started"], p["finished"] = "2026-11-23T13:00:00+01:00", "2026-11-23T12:00:00Z"
	}, "", "times of two zones that are the same")
	r.says("good-code-largest", func(_, p object) { p["exit_code"] = uint32(1<<32 - 1) }, "", "an exit code of 32 bits")
	r.says("good-no-time", func(_, p object) { p["wall_time_ms"] = 0 }, "", "a run of less than a millisecond")
	for _, o := range []job.Outcome{job.Trapped, job.Timeout, job.Memory, job.Output, job.Cancelled} {
		r.says("good-"+string(o), func(_, p object) { p["outcome"], p["exit_code"] = o, o.ExitCode(0) }, "", "a job that ended so")
	}
	r.says("good-output-unlimited", func(_, p object) { p["limits"].(object)["output_bytes"] = 0 }, "", "output that was not limited was not cut")
}

func subject(s object, i int) object { return s["subject"].([]any)[i].(object) }

func (r *receipts) damagedEnvelopes() {
	text := encode(r.t, statement(r.t, r.spec))
	good := sign(r.t, receipt.PayloadType, text, "worker")
	raw := func(name, file, why string) { r.file("envelope-"+name, file, "format", why) }
	changed := func(name, code, why string, change func(o object)) {
		r.file(name, edit(r.t, good, change), code, why)
	}
	raw("empty", "", "nothing")
	raw("text", "ok", "not JSON")
	raw("array", "["+strings.TrimSpace(good)+"]", "a list is no envelope")
	raw("cut", strings.TrimSpace(good)[:len(good)-2], "ends too early")
	raw("trailing", good+"{}", "something after the end")
	raw("bom", "\ufeff"+good, "a byte order mark")
	raw("bare-statement", text, "a statement nobody signed")
	raw("duplicate", strings.Replace(good, `"payloadType"`, `"payload":"e30=","payloadType"`, 1), "a name twice")
	raw("case", strings.Replace(good, `"payload"`, `"Payload":"e30=","payload"`, 1), "a name twice, but for case")
	raw("case-alone", strings.Replace(good, `"sig"`, `"Sig"`, 1), "a known name in another case")
	raw("utf8", strings.Replace(good, `"keyid":"`, `"keyid":"`+"\xff", 1), "invalid UTF-8")
	changed("envelope-no-payload", "format", "no payload", func(o object) { delete(o, "payload") })
	changed("envelope-no-signatures", "format", "no list of signatures", func(o object) { delete(o, "signatures") })
	changed("envelope-null-signatures", "format", "null is no list", func(o object) { o["signatures"] = nil })
	changed("envelope-no-type", "format", "no payload type", func(o object) { delete(o, "payloadType") })
	changed("envelope-payload-object", "format", "the payload is not base64 text", func(o object) { o["payload"] = object{} })
	changed("envelope-base64-unpadded", "format", "base64 without its padding", func(o object) {
		o["payload"] = strings.TrimRight(b64(text+strings.Repeat(" ", (4-len(text)%3)%3)), "=")
	})
	changed("envelope-base64-newline", "format", "base64 with a line break", func(o object) {
		p := o["payload"].(string)
		o["payload"] = p[:76] + "\n" + p[76:]
	})
	changed("envelope-base64-mixed", "format", "both alphabets in one text", func(o object) { signature(o, 0)["sig"] = "-/8=" })
	changed("envelope-base64-bits", "format", "stray bits at the end of base64", func(o object) { signature(o, 0)["sig"] = "aGVsbG9=" })
	changed("envelope-many-signatures", "format", "33 signatures", func(o object) {
		for len(o["signatures"].([]any)) < 33 {
			o["signatures"] = append(o["signatures"].([]any), signature(o, 0))
		}
	})
	r.file("size", good, "size", "one byte over 1 MiB", func(c *receiptCase) { c.PadTo = 1<<20 + 1 })

	other := sign(r.t, "application/vnd.phase.release.v1+json", text, "worker")
	r.file("type-signed", other, "format", "signed as another kind of document")
	changed("type-changed", "format", "the payload type was changed after signing", func(o object) { o["payloadType"] = "application/json" })
	r.file("type-relabelled", edit(r.t, other, func(o object) { o["payloadType"] = receipt.PayloadType }), "signature",
		"signed as another kind of document, relabelled: the signature covers the type")
	changed("signature-none", "signature", "nobody signed", func(o object) { o["signatures"] = []any{} })
	changed("signature-bit", "signature", "one bit of the signature", func(o object) {
		s := signature(o, 0)["sig"].(string)
		next := map[bool]string{true: "B", false: "A"}[s[0] == 'A']
		signature(o, 0)["sig"] = next + s[1:]
	})
	changed("signature-short", "signature", "63 bytes", func(o object) { signature(o, 0)["sig"] = b64(strings.Repeat("x", 63)) })
	changed("signature-payload", "signature", "another exit code in what was signed", func(o object) {
		o["payload"] = b64(strings.Replace(text, `"exit_code":3`, `"exit_code":0`, 1))
	})
	r.file("signature-raw", edit(r.t, good, func(o object) { signature(o, 0)["sig"] = rawSignature(text) }), "signature",
		"a signature over the payload alone, without its type")
	r.file("signature-stranger", sign(r.t, receipt.PayloadType, text, "stranger"), "signature", "a stranger signed in the worker's name")
	r.file("signature-claimed", edit(r.t, sign(r.t, receipt.PayloadType, text, "stranger"), func(o object) {
		signature(o, 0)["keyid"] = envelope.KeyID(public("worker"))
	}), "signature", "… and claims the worker's keyid")
}

func (r *receipts) damagedStatements() {
	r.t.Helper()
	text := encode(r.t, statement(r.t, r.spec))
	raw := func(name, payload, why string) { r.payload("payload-"+name, payload, "format", why) }
	raw("empty", "", "nothing was signed")
	raw("array", "[]", "a list is no statement")
	raw("trailing", text+"{}", "something after the end")
	raw("duplicate", strings.Replace(text, `"exit_code":3`, `"exit_code":3,"exit_code":0`, 1), "a name twice: two readers, two results")
	raw("duplicate-escaped", strings.Replace(text, `"exit_code":3`, `"exit_code":3,"exit\u005fcode":0`, 1), "… once escaped")
	raw("case", strings.Replace(text, `"exit_code":3`, `"exit_code":3,"EXIT_CODE":0`, 1), "… but for case")
	raw("case-alone", strings.Replace(text, `"exit_code"`, `"Exit_Code"`, 1), "a known name in another case")
	raw("case-dashes", strings.Replace(text, `"exit_code":3`, `"exit_code":3,"exit-code":0`, 1), "a name that lenient readers take for a known one")
	raw("case-runtime", strings.Replace(text, `"profile"`, `"Profile"`, 1), "a known name in another case, deeper")
	raw("utf8", strings.Replace(text, `"wazero"`, "\"\xff\"", 1), "invalid UTF-8")
	raw("big", strings.Replace(text, `"wall_time_ms":5`, `"wall_time_ms":9007199254740992`, 1), "2^53")
	raw("big-unknown", strings.Replace(text, `"wall_time_ms":5`, `"wall_time_ms":5,"x":1e16`, 1), "over 2^53 in a field nobody knows")
	raw("deep", strings.Replace(text, `"wall_time_ms":5`, `"wall_time_ms":5,"x":`+strings.Repeat("[", 64)+strings.Repeat("]", 64), 1), "nested deeper than 64")

	bad := func(name string, damage func(s, p object), why string) {
		r.says("statement-"+name, damage, "format", why)
	}
	bad("type", func(s, _ object) { s["_type"] = "https://in-toto.io/Statement/v0.1" }, "another in-toto")
	bad("predicate-type", func(s, _ object) { s["predicateType"] = "https://slsa.dev/provenance/v1" }, "another predicate")
	bad("no-predicate", func(s, _ object) { delete(s, "predicate") }, "no predicate")
	bad("no-subject", func(s, _ object) { delete(s, "subject") }, "no subject")
	bad("one-subject", func(s, _ object) { s["subject"] = s["subject"].([]any)[:1] }, "nothing about stderr")
	bad("three-subjects", func(s, _ object) { s["subject"] = append(s["subject"].([]any), subject(s, 0)) }, "a third output")
	bad("subject-order", func(s, _ object) { l := s["subject"].([]any); l[0], l[1] = l[1], l[0] }, "stderr first")
	bad("subject-hash", func(s, _ object) { subject(s, 0)["digest"] = object{"sha256": "00"} }, "a short digest")
	bad("subject-upper", func(s, _ object) {
		d := subject(s, 1)["digest"].(object)
		d["sha256"] = strings.ToUpper(d["sha256"].(string))
	}, "an upper-case digest")
	bad("subject-digest-number", func(s, _ object) { subject(s, 1)["digest"].(object)["sha512"] = 1 }, "another digest beside it, which is no text")
	bad("subject-digest-null", func(s, _ object) { subject(s, 0)["digest"].(object)["sha512"] = nil }, "… or null")
	bad("subject-other", func(s, _ object) { subject(s, 0)["digest"] = object{"sha512": strings.Repeat("0", 128)} }, "no SHA-256")
	for _, field := range []string{"job_id", "run_id", "offer_nonce", "module_hash", "args_sha256", "env_sha256", "stdin_sha256",
		"exit_code", "outcome", "wall_time_ms", "started", "finished", "runtime", "limits", "node"} {
		bad("no-"+strings.ReplaceAll(field, "_", "-"), func(_, p object) { delete(p, field) }, "no "+field+": nothing weaker is taken in its place")
	}
	for _, path := range []string{"runtime.name", "runtime.version", "runtime.profile", "node.peer_id", "node.public_key",
		"limits.cpu_cores", "limits.memory_mb", "limits.timeout_seconds", "limits.output_bytes"} {
		group, field, _ := strings.Cut(path, ".")
		name := "no-" + strings.NewReplacer(".", "-", "_", "-").Replace(path)
		bad(name, func(_, p object) { delete(p[group].(object), field) }, "no "+path)
	}
	set := func(name, field string, value any, why string) {
		r.sets("statement-"+name, field, value, "format", why)
	}
	set("null-exit-code", "exit_code", nil, "null is not 0")
	set("negative-exit-code", "exit_code", -1, "no exit code")
	set("exit-code-text", "exit_code", "3", "a string is no number")
	set("exit-code-33-bits", "exit_code", 1<<32, "more than 32 bits")
	set("outcome-unknown", "outcome", "fine", "no outcome")
	set("outcome-code", "outcome", "timeout", "timeout is 124 and not 3")
	set("nonce-short", "offer_nonce", "AAAA", "3 bytes")
	set("run-id-upper", "run_id", "000102030405060708090A0B0C0D0E0F", "upper-case hex")
	set("run-id-short", "run_id", "00", "1 byte")
	set("job-id-bare", "job_id", strings.TrimPrefix(someHash, "sha256:"), "bare hex")
	set("module-hash-bare", "module_hash", strings.TrimPrefix(someHash, "sha256:"), "bare hex")
	set("stdin-prefixed", "stdin_sha256", someHash, "a prefix where none belongs")
	set("args-newline", "args_sha256", hexSum("x")+"\n", "a line feed after the digest")
	set("time-negative", "wall_time_ms", -1, "a negative time")
	set("time-fraction", "wall_time_ms", 5.5, "a fraction of a millisecond")
	set("started-word", "started", "yesterday", "no time")
	set("started-space", "started", "2026-11-23 12:00:00Z", "not RFC 3339")
	set("started-zone", "started", "2026-11-23T12:00:00", "a time without a zone")
	set("started-day", "started", "2026-02-30T12:00:00Z", "a day that is not")
	set("started-comma", "started", "2026-11-23T12:00:00,5Z", "a comma in the seconds")
	set("finished-before", "finished", "2026-11-23T11:59:59.999999999Z", "ended before it began")
	bad("no-memory", func(_, p object) { p["limits"].(object)["memory_mb"] = 0 }, "no limit")
	bad("no-cores", func(_, p object) { p["limits"].(object)["cpu_cores"] = 0 }, "no limit")
	bad("no-timeout", func(_, p object) { p["limits"].(object)["timeout_seconds"] = 0 }, "no limit")
	bad("negative-output", func(_, p object) { p["limits"].(object)["output_bytes"] = -1 }, "no limit")
}
