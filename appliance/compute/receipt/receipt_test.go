package receipt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/compute/job"
)

// node is a key and the name a receipt gives it; what a peer id looks like is
// not this package's business.
func node(seed byte) (ed25519.PrivateKey, Pin) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return key, Pin{"peer-" + string('a'+seed), key.Public().(ed25519.PublicKey)}
}

func signer(key ed25519.PrivateKey) func(string, []byte) ([]byte, error) {
	return func(kind string, payload []byte) ([]byte, error) { return envelope.Sign(kind, payload, key) }
}

func spec(t testing.TB, args ...string) job.Spec {
	t.Helper()
	j := job.Default([]byte("module"))
	j.Args, j.StdinHash = args, job.Hash([]byte("in"))
	s, err := job.New(j)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	outSum = sha256.Sum256([]byte("out"))
	errSum = sha256.Sum256([]byte("err"))
	inSum  = sha256.Sum256([]byte("in"))
)

func statement(t testing.TB, pin Pin) Statement {
	s := spec(t, "x")
	begun := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return New(Predicate{
		JobID: s.ID(), RunID: strings.Repeat("ab", 16), OfferNonce: "AAAAAAAAAAAAAAAAAAAAAA==",
		ModuleHash: s.Job().ModuleHash, ArgsSHA256: s.ArgsSHA256(), EnvSHA256: s.EnvSHA256(), StdinSHA256: hex.EncodeToString(inSum[:]),
		ExitCode: 3, Outcome: job.Exited, WallTimeMS: 5, Started: begun, Finished: begun.Add(5 * time.Millisecond),
		Runtime: Runtime{"wazero", "v1", "wasip1"}, Limits: Limits{1, 512, 60, job.DefaultOutputBytes},
		Node: Node{pin.PeerID, EncodeKey(pin.Key)},
	}, outSum[:], errSum[:])
}

func TestSignAndVerify(t *testing.T) {
	key, pin := node(1)
	signed, err := Sign(statement(t, pin), pin, signer(key))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Verify(signed, pin)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		s.CheckJob(spec(t, "x")), s.CheckStdout(outSum), s.CheckStderr(errSum), s.CheckNonce("AAAAAAAAAAAAAAAAAAAAAA=="),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	for name, err := range map[string]error{
		"job": s.CheckJob(spec(t, "y")), "stdout": s.CheckStdout(errSum), "stderr": s.CheckStderr(outSum), "nonce": s.CheckNonce("other"),
	} {
		if err == nil {
			t.Errorf("another %s passes", name)
		}
	}
}

func TestAnotherInputIsSeen(t *testing.T) {
	key, pin := node(1)
	st := statement(t, pin)
	st.Predicate.StdinSHA256 = hex.EncodeToString(outSum[:])
	signed, err := Sign(st, pin, signer(key))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Verify(signed, pin)
	if err != nil {
		t.Fatal(err)
	}
	if s.CheckJob(spec(t, "x")) == nil {
		t.Error("a receipt for another input passes")
	}
}

func TestOnlyThePinnedNodeCounts(t *testing.T) {
	key, pin := node(1)
	strangerKey, stranger := node(2)
	good, err := Sign(statement(t, pin), pin, signer(key))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(good, stranger); !errors.Is(err, ErrSignature) {
		t.Errorf("pinned to another node: %v", err)
	}
	if _, err := Verify(good, Pin{}); err == nil {
		t.Error("verified against nobody")
	}
	// A stranger signs, naming itself or the pinned node.
	for _, named := range []Pin{pin, stranger} {
		payload, err := json.Marshal(statement(t, named))
		if err != nil {
			t.Fatal(err)
		}
		forged, err := envelope.Sign(PayloadType, payload, strangerKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(forged, pin); !errors.Is(err, ErrSignature) {
			t.Errorf("signed by a stranger naming %s: %v", named.PeerID, err)
		}
	}
	// The pinned node signs a receipt in another's name.
	for _, other := range []Node{{stranger.PeerID, EncodeKey(pin.Key)}, {pin.PeerID, EncodeKey(stranger.Key)}} {
		st := statement(t, pin)
		st.Predicate.Node = other
		if _, err := Sign(st, pin, signer(key)); !errors.Is(err, ErrSignature) {
			t.Errorf("naming %+v: %v", other, err)
		}
	}
}

func TestDamagedStatements(t *testing.T) {
	key, pin := node(1)
	type object = map[string]any
	for name, damage := range map[string]func(statement, predicate object){
		"_type":               func(s, _ object) { s["_type"] = "https://in-toto.io/Statement/v0.1" },
		"predicateType":       func(s, _ object) { s["predicateType"] = "urn:other" },
		"no subject":          func(s, _ object) { delete(s, "subject") },
		"one subject":         func(s, _ object) { s["subject"] = s["subject"].([]any)[:1] },
		"subjects in a row":   func(s, _ object) { l := s["subject"].([]any); l[0], l[1] = l[1], l[0] },
		"subject digest":      func(s, _ object) { s["subject"].([]any)[0].(object)["digest"] = object{"sha256": "00"} },
		"subject other":       func(s, _ object) { s["subject"].([]any)[0].(object)["digest"] = object{"sha512": "00"} },
		"no exit_code":        func(_, p object) { delete(p, "exit_code") },
		"null exit_code":      func(_, p object) { p["exit_code"] = nil },
		"negative exit_code":  func(_, p object) { p["exit_code"] = -1 },
		"no outcome":          func(_, p object) { delete(p, "outcome") },
		"unknown outcome":     func(_, p object) { p["outcome"] = "fine" },
		"outcome and code":    func(_, p object) { p["outcome"] = "timeout" },
		"no offer_nonce":      func(_, p object) { delete(p, "offer_nonce") },
		"short offer_nonce":   func(_, p object) { p["offer_nonce"] = "AAAA" },
		"no run_id":           func(_, p object) { delete(p, "run_id") },
		"upper-case run_id":   func(_, p object) { p["run_id"] = strings.Repeat("AB", 16) },
		"bare job_id":         func(_, p object) { p["job_id"] = strings.Repeat("0", 64) },
		"bare module_hash":    func(_, p object) { p["module_hash"] = strings.Repeat("0", 64) },
		"no stdin_sha256":     func(_, p object) { delete(p, "stdin_sha256") },
		"prefixed args":       func(_, p object) { p["args_sha256"] = "sha256:" + strings.Repeat("0", 57) },
		"no env_sha256":       func(_, p object) { delete(p, "env_sha256") },
		"no limits":           func(_, p object) { delete(p, "limits") },
		"no memory limit":     func(_, p object) { delete(p["limits"].(object), "memory_mb") },
		"no timeout":          func(_, p object) { p["limits"].(object)["timeout_seconds"] = 0 },
		"ends before started": func(_, p object) { p["finished"] = "2026-11-23T11:59:59Z" },
		"no time":             func(_, p object) { p["started"] = "yesterday" },
		"no node":             func(_, p object) { delete(p, "node") },
		"no peer id":          func(_, p object) { delete(p["node"].(object), "peer_id") },
		"no runtime":          func(_, p object) { delete(p["runtime"].(object), "version") },
		"negative time":       func(_, p object) { p["wall_time_ms"] = -1 },
		"case variant":        func(_, p object) { p["Outcome"] = "exited" },
	} {
		text, err := json.Marshal(statement(t, pin))
		if err != nil {
			t.Fatal(err)
		}
		var s object
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		damage(s, s["predicate"].(object))
		if text, err = json.Marshal(s); err != nil {
			t.Fatal(err)
		}
		signed, err := envelope.Sign(PayloadType, text, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(signed, pin); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	text, err := json.Marshal(statement(t, pin))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := envelope.Sign("application/json", text, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(signed, pin); err == nil {
		t.Error("another payload type: verified")
	}
}

// FuzzVerify: no change of a receipt's bytes makes it say something else and
// still verify.
func FuzzVerify(f *testing.F) {
	key, pin := node(1)
	good, err := Sign(statement(f, pin), pin, signer(key))
	if err != nil {
		f.Fatal(err)
	}
	want, err := Verify(good, pin)
	if err != nil {
		f.Fatal(err)
	}
	said, err := json.Marshal(want)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("sig"), []byte("Sig"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Verify(data, pin)
		if err != nil {
			return
		}
		if got, err := json.Marshal(s); err != nil || !bytes.Equal(got, said) {
			t.Fatalf("verified, and says something else: %s", got)
		}
	})
}

func TestEveryBitCounts(t *testing.T) {
	key, pin := node(1)
	good, err := Sign(statement(t, pin), pin, signer(key))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Verify(good, pin)
	if err != nil {
		t.Fatal(err)
	}
	said, _ := json.Marshal(want)
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if s, err := Verify(bad, pin); err == nil {
				// The envelope's hints may change; what was signed may not.
				if got, _ := json.Marshal(s); !bytes.Equal(got, said) {
					t.Fatalf("byte %d bit %d: verified, and says something else", i, bit)
				}
			}
		}
	}
}
