package vectors

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/identity"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

// receiptCase is one line of receipt/cases.json: read File as the answer of
// node Peer to the offer of Job with this nonce, where these outputs came back.
type receiptCase struct {
	File       string `json:"file"`
	PadTo      int    `json:"pad_to"`
	Peer       string `json:"peer"`
	Job        string `json:"job"`
	OfferNonce string `json:"offer_nonce"`
	Stdout     []byte `json:"stdout_base64"`
	Stderr     []byte `json:"stderr_base64"`
	Code       string `json:"code"`
	Why        string `json:"why"`
}

const (
	nonce      = "AAECAwQFBgcICQoLDA0ODw=="
	otherNonce = "DwECAwQFBgcICQoLDA0ODw=="
)

// key is the test key of that name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("phase test vector key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(name string) ed25519.PublicKey { return key(name).Public().(ed25519.PublicKey) }

func peer(name string) string { return identity.PeerID(public(name)) }

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

type object = map[string]any

// statement is what node "worker" says of the job: it exited with 3.
func statement(t *testing.T, spec job.Spec) object {
	t.Helper()
	begun := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	asked := spec.Job()
	out, errs := sha256.Sum256([]byte("out\x00\xff\n")), sha256.Sum256([]byte("err"))
	s := receipt.New(receipt.Predicate{
		JobID: spec.ID(), RunID: "000102030405060708090a0b0c0d0e0f", OfferNonce: nonce,
		ModuleHash: asked.ModuleHash, ArgsSHA256: spec.ArgsSHA256(), EnvSHA256: spec.EnvSHA256(), StdinSHA256: hexSum("in"),
		ExitCode: 3, Outcome: job.Exited, WallTimeMS: 5, Started: begun, Finished: begun.Add(5 * time.Millisecond),
		Runtime: receipt.Runtime{Name: "wazero", Version: "v1", Profile: "wasip1"},
		Limits:  receipt.Limits{CPUCores: asked.CPUCores, MemoryMB: asked.MemoryMB, TimeoutSeconds: spec.Timeout().Seconds(), OutputBytes: spec.OutputBytes()},
		Node:    receipt.Node{PeerID: peer("worker"), PublicKey: receipt.EncodeKey(public("worker"))},
	}, out[:], errs[:])
	text, err := strictjson.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := strictjson.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sign(t *testing.T, kind, payload string, names ...string) string {
	t.Helper()
	var keys []ed25519.PrivateKey
	for _, name := range names {
		keys = append(keys, key(name))
	}
	data, err := envelope.Sign(kind, []byte(payload), keys...)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// receipts builds the cases.
type receipts struct {
	folder
	spec  job.Spec
	cases []receiptCase
}

// file adds a file; change changes the case, which is the ordinary one.
func (r *receipts) file(name, text, code, why string, change ...func(*receiptCase)) {
	r.t.Helper()
	c := receiptCase{
		File: name + ".json", Peer: peer("worker"), Job: jobOfReceipts, OfferNonce: nonce,
		Stdout: []byte("out\x00\xff\n"), Stderr: []byte("err"), Code: code, Why: why,
	}
	for _, f := range change {
		f(&c)
	}
	r.add(c.File, []byte(text))
	r.cases = append(r.cases, c)
}

// payload adds a receipt that the worker has signed over this text.
func (r *receipts) payload(name, text, code, why string, change ...func(*receiptCase)) {
	r.t.Helper()
	r.file(name, sign(r.t, receipt.PayloadType, text, "worker"), code, why, change...)
}

// says adds a receipt that the worker has signed after damage.
func (r *receipts) says(name string, damage func(s, p object), code, why string, change ...func(*receiptCase)) {
	r.t.Helper()
	s := statement(r.t, r.spec)
	damage(s, s["predicate"].(object))
	r.payload(name, encode(r.t, s), code, why, change...)
}

// sets is says for one field of the predicate.
func (r *receipts) sets(name, field string, value any, code, why string) {
	r.t.Helper()
	r.says(name, func(_, p object) { p[field] = value }, code, why)
}

func nothing(object, object) {}

const jobOfReceipts = "job.json"

func makeReceipts(t *testing.T) *receipts {
	spec, err := job.New(job.Job{
		Version: job.Version, ModuleHash: someHash, CPUCores: 2, MemoryMB: 64, TimeoutSeconds: 5,
		Args: []string{"a", "b c"}, Env: map[string]string{"K": "V"}, StdinHash: job.Hash([]byte("in")),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &receipts{folder: folder{t: t, name: "receipt", files: map[string][]byte{}}, spec: spec}
	r.add(jobOfReceipts, spec.File())
	r.valid()
	r.damagedEnvelopes()
	r.damagedStatements()
	r.others()
	return r
}

func TestMakeReceipts(t *testing.T) {
	r := makeReceipts(t)
	r.settle(r.cases)
}

// receiptCode is the first reason to refuse a receipt.
func receiptCode(t *testing.T, c receiptCase, data []byte) (string, error) {
	t.Helper()
	pinned, err := identity.ParsePeerID(c.Peer)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := job.Parse(load(t, "receipt", c.Job))
	if err != nil {
		t.Fatal(err)
	}
	s, err := receipt.Verify(data, receipt.Pin{PeerID: c.Peer, Key: pinned})
	switch {
	case errors.Is(err, strictjson.ErrSize):
		return "size", err
	case errors.Is(err, receipt.ErrSignature):
		return "signature", err
	case err != nil:
		return "format", err
	}
	for _, check := range []struct {
		code string
		err  error
	}{
		{"job", s.CheckJob(spec)},
		{"nonce", s.CheckNonce(c.OfferNonce)},
		{"output", s.CheckStdout(sha256.Sum256(c.Stdout))},
		{"output", s.CheckStderr(sha256.Sum256(c.Stderr))},
	} {
		if check.err != nil {
			return check.code, check.err
		}
	}
	return "", nil
}

func TestReceipts(t *testing.T) {
	var cases []receiptCase
	loadCases(t, "receipt", &cases)
	var codes []string
	for _, c := range cases {
		codes = append(codes, c.Code)
		t.Run(c.File, func(t *testing.T) {
			got, err := receiptCode(t, c, pad(load(t, "receipt", c.File), c.PadTo))
			if got != c.Code {
				t.Errorf("%s: refused as %q (%v), want %q", c.Why, got, err, c.Code)
			}
		})
	}
	count(t, codes)
}

// edit changes the outer JSON of an envelope.
func edit(t *testing.T, data string, change func(o object)) string {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(data), &o); err != nil {
		t.Fatal(err)
	}
	change(o)
	return encode(t, o)
}

func signature(o object, i int) object { return o["signatures"].([]any)[i].(object) }

// urlSafe turns standard base64 into the other alphabet.
func urlSafe(text string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(text) }

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
