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

// commit binds this node to the result of a run, and waits until the requester
// asks to see it: first the receipt, then the outputs. It reports whether it has
// asked for those, too.
func (x *session) commit(done scheduler.Done, k kept) (whole bool, err error) {
	s, err := receipt.Verify(done.Receipt, x.server.pin)
	if err != nil {
		return false, err
	}
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	text := hex.EncodeToString(salt)
	x.say(header{Type: typeCommitment, RunID: done.RunID, Commitment: commitment(x.server.PeerID, s, text)}, nil)
	if asked, err := x.asked(typeReveal); err != nil || !asked {
		return false, errors.Join(err, x.gone())
	}
	shown := result(done)
	shown.Type, shown.Salt = typeReveal, text
	x.say(shown, done.Receipt)
	if asked, err := x.asked(typeOutput); err != nil || !asked {
		return false, errors.Join(err, x.gone())
	}
	for _, out := range []struct {
		kind string
		data []byte
	}{{typeStdout, k.stdout.data}, {typeStderr, k.stderr.data}} {
		for piece := range slices.Chunk(out.data, frame.Piece) {
			x.say(header{Type: out.kind}, piece)
		}
	}
	return true, nil
}

// asked waits until the requester asks to see something, and reports whether it
// has, or has ended the stream instead.
func (x *session) asked(what string) (bool, error) {
	timer := time.NewTimer(x.server.times.Reveal)
	defer timer.Stop()
	got := ""
	select {
	case got = <-x.asks:
	case <-x.c.Listened:
		select {
		case got = <-x.asks: // it was the last that it said
		default:
			return false, nil
		}
	case <-timer.C:
		return false, fmt.Errorf("nobody asked to see a result for %v", x.server.times.Reveal)
	case <-x.ctx.Done():
		return false, context.Cause(x.ctx)
	}
	if got != what {
		return false, unexpected(header{Type: got}, what)
	}
	return true, nil
}
