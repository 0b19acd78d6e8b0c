// Package receipt makes and verifies the signed statement of what a job did: an
// in-toto Statement v1 in a DSSE envelope, signed by the node that ran the job.
// It is pure. The caller gives the key of the node that was asked; the key that a
// receipt names proves nothing.
package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
)

// The names of the format. The first two are in-toto's
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
const (
	PayloadType   = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "urn:phase:execution-receipt:v1"
)

// Statement is the payload of a receipt.
type Statement struct {
	Type          string    `json:"_type"`
	Subject       []Subject `json:"subject"` // stdout, then stderr
	PredicateType string    `json:"predicateType"`
	Predicate     Predicate `json:"predicate"`
}

// Subject is one output of the job; Digest holds "sha256" in hex.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Predicate says what was run, with what, by whom, and how it ended. Digests
// called …_sha256 are bare hex; job_id and module_hash carry "sha256:".
type Predicate struct {
	JobID       string      `json:"job_id"`
	RunID       string      `json:"run_id"`      // 16 random bytes, hex
	OfferNonce  string      `json:"offer_nonce"` // 16 bytes the requester chose, base64
	ModuleHash  string      `json:"module_hash"`
	ArgsSHA256  string      `json:"args_sha256"`
	EnvSHA256   string      `json:"env_sha256"`
	StdinSHA256 string      `json:"stdin_sha256"`
	ExitCode    uint32      `json:"exit_code"`
	Outcome     job.Outcome `json:"outcome"`
	WallTimeMS  int64       `json:"wall_time_ms"`
	Started     time.Time   `json:"started"`
	Finished    time.Time   `json:"finished"`
	Runtime     Runtime     `json:"runtime"`
	Limits      Limits      `json:"limits"`
	Node        Node        `json:"node"`
}

// Runtime is what executed the module.
type Runtime struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Profile string `json:"profile"`
}

// Limits are the limits that were applied, under the names of the job file.
// OutputBytes is 0 where output was not limited; TimeoutSeconds may be a
// fraction where no job file set it.
type Limits struct {
	CPUCores       int     `json:"cpu_cores"`
	MemoryMB       int     `json:"memory_mb"`
	TimeoutSeconds float64 `json:"timeout_seconds"`
	OutputBytes    int64   `json:"output_bytes"`
}

// Node is who ran the job: its peer id, and the base64 of its raw public key.
type Node struct {
	PeerID    string `json:"peer_id"`
	PublicKey string `json:"public_key"`
}

// Pin is the node a requester asked, and so the only one whose receipt counts.
type Pin struct {
	PeerID string
	Key    ed25519.PublicKey
}

// New returns the statement about a run whose outputs have the digests stdout
// and stderr (SHA-256, raw).
func New(p Predicate, stdout, stderr []byte) Statement {
	subject := func(name string, sum []byte) Subject {
		return Subject{name, map[string]string{"sha256": hex.EncodeToString(sum)}}
	}
	return Statement{StatementType, []Subject{subject("stdout", stdout), subject("stderr", stderr)}, PredicateType, p}
}

// Sign writes the statement, has it signed by sign (the envelope of a payload
// under the node's identity), and returns the envelope if Verify accepts it
// with pin: a node hands out nothing that its requester would have to refuse.
func Sign(s Statement, pin Pin, sign func(payloadType string, payload []byte) ([]byte, error)) ([]byte, error) {
	payload, err := strictjson.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the receipt: %w", err)
	}
	signed, err := sign(PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("signing the receipt: %w", err)
	}
	if _, err := Verify(signed, pin); err != nil {
		return nil, fmt.Errorf("signing the receipt: %w", err)
	}
	return signed, nil
}

// ErrSignature is in the error of Verify when the pinned node did not sign.
var ErrSignature = errors.New("the receipt is not signed by the node that was asked")

// Verify reads a receipt (at most 1 MiB) and returns its statement if the
// pinned node signed it, every field is there and has the form it must have,
// and the node it names is the pinned one.
func Verify(data []byte, pin Pin) (Statement, error) {
	if len(pin.Key) != ed25519.PublicKeySize || pin.PeerID == "" {
		return Statement{}, errors.New("checking the receipt: no node to check it against; give its peer id or public key")
	}
	env, err := envelope.Parse(data)
	if err != nil {
		return Statement{}, fmt.Errorf("reading the receipt: %w", err)
	}
	if env.PayloadType != PayloadType {
		return Statement{}, fmt.Errorf("reading the receipt: payload type %.80q is not %q", env.PayloadType, PayloadType)
	}
	keys := map[string]ed25519.PublicKey{envelope.KeyID(pin.Key): pin.Key}
	if len(env.SignedBy(keys)) == 0 {
		return Statement{}, fmt.Errorf("checking the receipt: %w (%s)", ErrSignature, pin.PeerID)
	}
	var s Statement
	if err := strictjson.Unmarshal(env.Payload, &s); err != nil {
		return Statement{}, fmt.Errorf("reading the statement: %w", err)
	}
	if err := required(env.Payload); err != nil {
		return Statement{}, fmt.Errorf("reading the statement: %w", err)
	}
	if err := s.check(); err != nil {
		return Statement{}, fmt.Errorf("reading the statement: %w", err)
	}
	n := s.Predicate.Node
	if key, err := strictjson.Base64(n.PublicKey); err != nil || !bytes.Equal(key, pin.Key) {
		return Statement{}, fmt.Errorf("checking the receipt: %w: node.public_key is another key", ErrSignature)
	}
	if n.PeerID != pin.PeerID {
		return Statement{}, fmt.Errorf("checking the receipt: %w: node.peer_id is %.80q", ErrSignature, n.PeerID)
	}
	return s, nil
}

// requiredFields must all be there, and not null, so that no zero value is ever
// taken for what a node said.
const requiredFields = `_type subject predicateType predicate
	predicate.job_id predicate.run_id predicate.offer_nonce predicate.module_hash predicate.args_sha256
	predicate.env_sha256 predicate.stdin_sha256 predicate.exit_code predicate.outcome predicate.wall_time_ms
	predicate.started predicate.finished predicate.runtime predicate.limits predicate.node
	predicate.runtime.name predicate.runtime.version predicate.runtime.profile
	predicate.limits.cpu_cores predicate.limits.memory_mb predicate.limits.timeout_seconds predicate.limits.output_bytes
	predicate.node.peer_id predicate.node.public_key`

// required refuses a statement in which a field is missing, or a digest is null.
func required(payload []byte) error {
	var top map[string]any
	if err := strictjson.Unmarshal(payload, &top); err != nil {
		return err
	}
	for path := range strings.FieldsSeq(requiredFields) {
		var value any = top
		for name := range strings.SplitSeq(path, ".") {
			fields, _ := value.(map[string]any)
			value = fields[name]
		}
		if value == nil {
			return fmt.Errorf("%s is missing", path)
		}
	}
	subjects, _ := top["subject"].([]any)
	for i, subject := range subjects {
		fields, _ := subject.(map[string]any)
		digests, _ := fields["digest"].(map[string]any)
		for name, digest := range digests {
			if digest == nil {
				return fmt.Errorf("subject[%d].digest.%.80s is null", i, name)
			}
		}
	}
	return nil
}

// check holds the statement to its form.
func (s Statement) check() error {
	p := s.Predicate
	switch {
	case s.Type != StatementType:
		return fmt.Errorf("_type %.80q is not %q", s.Type, StatementType)
	case s.PredicateType != PredicateType:
		return fmt.Errorf("predicateType %.80q is not %q", s.PredicateType, PredicateType)
	case len(s.Subject) != 2 || s.Subject[0].Name != "stdout" || s.Subject[1].Name != "stderr":
		return errors.New("subject must be stdout and stderr")
	case !p.Outcome.Known():
		return fmt.Errorf("predicate.outcome %.32q is not known", string(p.Outcome))
	case p.ExitCode != p.Outcome.ExitCode(p.ExitCode):
		return fmt.Errorf("predicate.exit_code %d is not that of %s", p.ExitCode, p.Outcome)
	case p.WallTimeMS < 0:
		return errors.New("predicate.wall_time_ms is negative")
	case p.Finished.Before(p.Started):
		return errors.New("predicate.finished is before started")
	case p.Limits.MemoryMB < 1 || p.Limits.CPUCores < 1 || p.Limits.OutputBytes < 0,
		!(p.Limits.TimeoutSeconds > 0) || math.IsInf(p.Limits.TimeoutSeconds, 0):
		return errors.New("predicate.limits are no limits")
	}
	digest := func(text string) bool { return hexOf(text, 32) }
	for _, field := range []struct {
		name string
		ok   bool
	}{
		{"subject[0].digest.sha256", digest(s.Subject[0].Digest["sha256"])},
		{"subject[1].digest.sha256", digest(s.Subject[1].Digest["sha256"])},
		{"predicate.job_id", strings.HasPrefix(p.JobID, "sha256:") && digest(p.JobID[7:])},
		{"predicate.module_hash", strings.HasPrefix(p.ModuleHash, "sha256:") && digest(p.ModuleHash[7:])},
		{"predicate.args_sha256", digest(p.ArgsSHA256)},
		{"predicate.env_sha256", digest(p.EnvSHA256)},
		{"predicate.stdin_sha256", digest(p.StdinSHA256)},
		{"predicate.run_id", hexOf(p.RunID, 16)},
		{"predicate.offer_nonce", CheckNonce(p.OfferNonce) == nil},
	} {
		if !field.ok {
			return fmt.Errorf("%s does not have its form", field.name)
		}
	}
	return nil
}

// hexOf reports whether text is n bytes in lower-case hex.
func hexOf(text string, n int) bool {
	data, err := hex.DecodeString(text)
	return err == nil && len(data) == n && hex.EncodeToString(data) == text
}

// NonceBytes is the length of an offer_nonce before base64.
const NonceBytes = 16

// CheckNonce refuses an offer_nonce that is not the base64 of 16 bytes.
func CheckNonce(text string) error {
	if data, err := strictjson.Base64(text); err != nil || len(data) != NonceBytes {
		return fmt.Errorf("offer_nonce %.40q is not the base64 of %d bytes", text, NonceBytes)
	}
	return nil
}

// EncodeKey returns a public key as receipts write it.
func EncodeKey(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }
