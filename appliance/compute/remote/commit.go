package remote

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
	"phase/appliance/network/frame"
)

// saltBytes hide what is committed to from who would guess it.
const saltBytes = 32

// commitment is the SHA-256, in hex, of what a result says, each value with a
// line feed behind it. It names the worker, so that no other can have it for its
// own, and the offer, so that it is of no other run.
func commitment(peerID string, s receipt.Statement, salt string) string {
	p := s.Predicate
	sum := sha256.Sum256([]byte(strings.Join([]string{
		"phase-commitment/1", peerID, p.OfferNonce, p.JobID, p.RunID, string(p.Outcome), fmt.Sprint(p.ExitCode),
		s.Subject[0].Digest["sha256"], s.Subject[1].Digest["sha256"], p.StdinSHA256, salt, "",
	}, "\n")))
	return hex.EncodeToString(sum[:])
}

// commit binds this node to the result of a run, waits until the requester asks
// to see it, and shows the outputs.
func (x *session) commit(done scheduler.Done, k kept) error {
	s, err := receipt.Verify(done.Receipt, x.server.pin)
	if err != nil {
		return err
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	text := hex.EncodeToString(salt)
	x.say(header{Type: typeCommitment, RunID: done.RunID, Commitment: commitment(x.server.PeerID, s, text)}, nil)
	timer := time.NewTimer(x.server.times.Reveal)
	defer timer.Stop()
	select {
	case <-x.revealed:
	case <-timer.C:
		return fmt.Errorf("nobody asked to see a result for %v", x.server.times.Reveal)
	case <-x.c.Listened:
		return errors.Join(errors.New("the requester has gone and did not ask to see the result"), x.gone())
	case <-x.ctx.Done():
		return context.Cause(x.ctx)
	}
	x.say(header{Type: typeReveal, Salt: text}, nil)
	for _, out := range []struct {
		kind string
		data []byte
	}{{typeStdout, k.stdout.data}, {typeStderr, k.stderr.data}} {
		for piece := range slices.Chunk(out.data, frame.Piece) {
			x.say(header{Type: out.kind}, piece)
		}
	}
	return nil
}
