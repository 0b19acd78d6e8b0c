package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
)

// A node signs what a job did; the requester verifies it with the key of the
// node that it asked, and compares it with what it has sent and got.
func Example() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	node := receipt.Pin{PeerID: "12D3KooW…", Key: key.Public().(ed25519.PublicKey)}
	spec, err := job.New(job.Default([]byte("module")))
	if err != nil {
		fmt.Println(err)
		return
	}
	nothing, output := sha256.Sum256(nil), sha256.Sum256([]byte("42\n"))
	began := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	signed, err := receipt.Sign(receipt.New(receipt.Predicate{
		JobID: spec.ID(), RunID: strings.Repeat("ab", 16), OfferNonce: "AAAAAAAAAAAAAAAAAAAAAA==",
		ModuleHash: spec.Job().ModuleHash, ArgsSHA256: spec.ArgsSHA256(), EnvSHA256: spec.EnvSHA256(), StdinSHA256: hex.EncodeToString(nothing[:]),
		Outcome: job.Exited, Started: began, Finished: began.Add(time.Second), WallTimeMS: 1000,
		Runtime: receipt.Runtime{Name: "wazero", Version: "v1", Profile: "wasip1"},
		Limits:  receipt.Limits{CPUCores: 1, MemoryMB: 512, TimeoutSeconds: 60, OutputBytes: job.DefaultOutputBytes},
		Node:    receipt.Node{PeerID: node.PeerID, PublicKey: receipt.EncodeKey(node.Key)},
	}, output[:], nothing[:]), node, func(kind string, payload []byte) ([]byte, error) { return envelope.Sign(kind, payload, key) })
	if err != nil {
		fmt.Println(err)
		return
	}

	statement, err := receipt.Verify(signed, node)
	fmt.Println(statement.Predicate.Outcome, err)
	fmt.Println(statement.CheckJob(spec), statement.CheckStdout(output))
	fmt.Println(statement.CheckStdout(nothing) != nil)

	other := receipt.Pin{PeerID: "12D3KooX…", Key: ed25519.PublicKey(bytes.Repeat([]byte{1}, ed25519.PublicKeySize))}
	_, err = receipt.Verify(signed, other)
	fmt.Println(errors.Is(err, receipt.ErrSignature))
	// Output:
	// exited <nil>
	// <nil> <nil>
	// true
	// true
}
