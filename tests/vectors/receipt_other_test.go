package vectors

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

// rawSignature is the worker's signature over bytes that are not PAE.
func rawSignature(text string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key("worker"), []byte(text)))
}

// others are sound receipts, of something else than was asked.
func (r *receipts) others() {
	r.t.Helper()
	stranger := func(c *receiptCase) { c.Peer = peer("stranger") }
	text := encode(r.t, statement(r.t, r.spec))
	r.payload("other-node", text, "signature", "signed by the worker, where the stranger was asked", stranger)
	r.says("other-node-named", func(_, p object) {
		p["node"] = object{"peer_id": peer("stranger"), "public_key": receipt.EncodeKey(public("stranger"))}
	}, "signature", "signed by the worker, naming the stranger who was asked: the key a receipt names proves nothing", stranger)
	r.says("other-peer-id", func(_, p object) { p["node"].(object)["peer_id"] = peer("stranger") }, "signature", "the worker names another peer id")
	r.says("other-public-key", func(_, p object) { p["node"].(object)["public_key"] = receipt.EncodeKey(public("stranger")) }, "signature", "the worker names another key")
	r.says("other-key-text", func(_, p object) { p["node"].(object)["public_key"] = "no key" }, "signature", "the worker names no key")

	zeros := strings.Repeat("0", 64)
	r.sets("other-job", "job_id", otherHash, "job", "of another job")
	r.sets("other-module", "module_hash", otherHash, "job", "of another module")
	r.sets("other-args", "args_sha256", zeros, "job", "of other arguments")
	r.sets("other-env", "env_sha256", zeros, "job", "of another environment")
	r.sets("other-stdin", "stdin_sha256", zeros, "job", "of another input")
	limit := func(name string, value any, why string) {
		r.says("other-"+strings.ReplaceAll(name, "_", "-"), func(_, p object) { p["limits"].(object)[name] = value }, "job", why)
	}
	limit("cpu_cores", 1, "fewer cores than asked for")
	limit("memory_mb", 63, "less memory than asked for")
	limit("timeout_seconds", 1, "less time than asked for")
	limit("output_bytes", 10, "less output than asked for")
	r.sets("other-nonce", "offer_nonce", otherNonce, "nonce", "of another offer: a receipt replayed")
	r.says("other-stdout", nothing, "output", "another output than came back", func(c *receiptCase) { c.Stdout = []byte("out\x00\xff") })
	r.says("other-stderr", nothing, "output", "another error output than came back", func(c *receiptCase) { c.Stderr = nil })
	r.says("other-swapped", nothing, "output", "the outputs in each other's place", func(c *receiptCase) { c.Stdout, c.Stderr = c.Stderr, c.Stdout })
	r.says("other-merged", nothing, "output", "the error output merged into the output", func(c *receiptCase) {
		c.Stdout, c.Stderr = append(c.Stdout, c.Stderr...), nil
	})

	spaced, err := job.Parse(append(r.spec.File(), '\n'))
	if err != nil {
		r.t.Fatal(err)
	}
	r.add("job-spaced.json", spaced.File())
	r.payload("other-file", text, "job", "of the same job in another file: the job_id is that of the bytes", func(c *receiptCase) { c.Job = "job-spaced.json" })
}
