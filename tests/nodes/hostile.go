package nodes

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/wasm"
	"phase/appliance/network/frame"
)

// Head is the header of a frame, as docs/streams.md has it.
type Head struct {
	Type       string      `json:"type"`
	Bytes      int64       `json:"bytes,omitempty"`
	Nonce      string      `json:"nonce,omitempty"`
	Expires    string      `json:"expires,omitempty"`
	ModuleSize int64       `json:"module_size,omitempty"`
	StdinSize  *int64      `json:"stdin_size,omitempty"`
	JobSize    int64       `json:"job_size,omitempty"`
	Commit     bool        `json:"commit,omitempty"`
	Last       bool        `json:"last,omitempty"`
	RunID      string      `json:"run_id,omitempty"`
	JobID      string      `json:"job_id,omitempty"`
	Module     string      `json:"module,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Detail     string      `json:"detail,omitempty"`
	ExitCode   *uint32     `json:"exit_code,omitempty"`
	Outcome    job.Outcome `json:"outcome,omitempty"`
	Commitment string      `json:"commitment,omitempty"`
	Salt       string      `json:"salt,omitempty"`
}

// Raw is how many raw bytes follow.
func (h *Head) Raw() int64 { return h.Bytes }

// Conn is a stream of frames that a test writes and reads by hand.
type Conn struct{ *frame.Conn }

// patience ends a test that hangs.
const patience = time.Minute

// ByHand returns a stream to write and read by hand.
func ByHand(s frame.Stream) Conn { return Conn{frame.New(s, patience)} }

// Say sends a frame with the number of its raw bytes.
func (c Conn) Say(h Head, raw []byte) error {
	h.Bytes = int64(len(raw))
	return c.Send(h, raw)
}

// Hear reads the next frame that is no sign of life, and what is behind it.
func (c Conn) Hear() (h Head, raw []byte, err error) {
	for h.Type == "" || h.Type == "alive" {
		h = Head{}
		if err = c.Next(&h, patience); err != nil {
			return h, nil, err
		}
		if raw, err = c.Bytes(64 << 20); err != nil {
			return h, nil, err
		}
	}
	return h, raw, nil
}

// Until reads frames until one of a type.
func (c Conn) Until(kind string) (h Head, raw []byte, err error) {
	for h.Type != kind && err == nil {
		h, raw, err = c.Hear()
	}
	return h, raw, err
}

// Offered is an offer that a hostile node has got, which answers it by hand.
type Offered struct {
	Conn
	T     testing.TB
	ID    identity.Identity // of the hostile node
	From  string            // who sent the offer
	Head  Head
	Spec  job.Spec
	RunID string // that it gives the run
}

// Hostile starts a node that answers each offer as a script says, and returns its
// peer id. Where the script ends with an error, the stream is reset.
func (n *Network) Hostile(t testing.TB, script func(*Offered) error) string {
	t.Helper()
	id := NewID(t)
	n.Serve(t, id.PeerID(), Answer(t, id, script))
	return id.PeerID()
}

// Answer answers streams as the node of that identity, each offer as a script
// says. Where the script ends with an error, the stream is reset.
func Answer(t testing.TB, id identity.Identity, script func(*Offered) error) func(from, protocol string, s frame.Stream) {
	return func(from, protocol string, s frame.Stream) {
		c := ByHand(s)
		h, file, err := c.Hear()
		if err == nil && (protocol != remote.JobProtocol || h.Type != "offer") {
			err = errors.New("this is no offer")
		}
		var spec job.Spec
		if err == nil {
			spec, err = job.Parse(file)
		}
		if err == nil {
			err = script(&Offered{Conn: c, T: t, ID: id, From: from, Head: h, Spec: spec, RunID: "00112233445566778899aabbccddeeff"})
		}
		if err != nil {
			_ = s.Reset() // the end either way
			return
		}
		c.Finish(patience)
	}
}

// Accept accepts the offer and says that the module is held.
func (o *Offered) Accept() error {
	return o.Say(Head{Type: "accepted", RunID: o.RunID, JobID: o.Spec.ID(), Module: "held"}, nil)
}

// Statement is what a true receipt says of a run with these outputs and no input.
func (o *Offered) Statement(stdout, stderr string) receipt.Statement {
	out, err, in := sha256.Sum256([]byte(stdout)), sha256.Sum256([]byte(stderr)), sha256.Sum256(nil)
	name, version := wasm.Runtime()
	want := o.Spec.Job()
	return receipt.New(receipt.Predicate{
		JobID: o.Spec.ID(), RunID: o.RunID, OfferNonce: o.Head.Nonce, ModuleHash: want.ModuleHash, ArgsSHA256: o.Spec.ArgsSHA256(),
		EnvSHA256: o.Spec.EnvSHA256(), StdinSHA256: hex.EncodeToString(in[:]), Outcome: job.Exited, Started: time.Now().UTC(), Finished: time.Now().UTC(),
		Runtime: receipt.Runtime{Name: name, Version: version, Profile: wasm.Profile},
		Limits: receipt.Limits{CPUCores: want.CPUCores, MemoryMB: want.MemoryMB, TimeoutSeconds: float64(want.TimeoutSeconds),
			OutputBytes: o.Spec.OutputBytes()},
		Node: node(o.ID),
	}, out[:], err[:])
}

func node(id identity.Identity) receipt.Node {
	return receipt.Node{PeerID: id.PeerID(), PublicKey: receipt.EncodeKey(id.Public())}
}

// Receipt signs a statement, whatever it says.
func (o *Offered) Receipt(s receipt.Statement) ([]byte, error) {
	payload, err := strictjson.Marshal(s)
	if err != nil {
		return nil, err
	}
	return o.ID.Sign(receipt.PayloadType, payload)
}

// Answer sends outputs and a receipt, and the header of a result that a statement
// makes true.
func (o *Offered) Answer(stdout, stderr string, s receipt.Statement, envelope []byte) error {
	for _, out := range [][2]string{{"stdout", stdout}, {"stderr", stderr}} {
		if out[1] != "" {
			if err := o.Say(Head{Type: out[0]}, []byte(out[1])); err != nil {
				return err
			}
		}
	}
	return o.Say(o.Result("result", s), envelope)
}

// Result is the header of a result that a statement makes true.
func (o *Offered) Result(kind string, s receipt.Statement) Head {
	code := s.Predicate.ExitCode
	return Head{Type: kind, RunID: o.RunID, JobID: o.Spec.ID(), ExitCode: &code, Outcome: s.Predicate.Outcome}
}

// Commitment is what docs/streams.md has a node commit to, written down again.
func (o *Offered) Commitment(s receipt.Statement, salt string) string {
	p, text := s.Predicate, ""
	for _, line := range []any{
		"phase-commitment/1", o.ID.PeerID(), p.OfferNonce, p.JobID, p.RunID, p.Outcome, p.ExitCode,
		s.Subject[0].Digest["sha256"], s.Subject[1].Digest["sha256"], p.StdinSHA256, salt,
	} {
		text += fmt.Sprintln(line)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Salt is one that a hostile node may commit with.
var Salt = strings.Repeat("5a", 32)

// Commits accepts the offer, commits to the first statement and waits until it is
// asked to reveal it, when it shows the second.
func (o *Offered) Commits(first, then receipt.Statement) error {
	envelope, err := o.Receipt(then)
	if err == nil {
		err = o.Accept()
	}
	if err == nil {
		err = o.Say(Head{Type: "commitment", RunID: o.RunID, Commitment: o.Commitment(first, Salt)}, nil)
	}
	if err == nil {
		_, _, err = o.Until("reveal")
	}
	if err != nil {
		return err
	}
	shown := o.Result("reveal", then)
	shown.Salt = Salt
	return o.Say(shown, envelope)
}
