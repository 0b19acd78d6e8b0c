package remote

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"phase/appliance/compute/scheduler"
)

// received is the output of a job as it comes: stdout, then stderr. It is passed
// on, or kept, and hashed in both cases.
type received struct {
	to   [2]io.Writer // nil: kept
	kept [2][]byte
	hash [2]hash.Hash
	left int64 // that the job may still write
}

func newReceived(o scheduler.Offer) *received {
	return &received{to: [2]io.Writer{o.Stdout, o.Stderr}, hash: [2]hash.Hash{sha256.New(), sha256.New()}, left: o.Spec.OutputBytes()}
}

// take reads the raw bytes of a frame.
func (r *received) take(c *conn, kind string) error {
	which := 0
	if kind == typeStderr {
		which = 1
	}
	if r.left -= c.Left(); r.left < 0 {
		return lie{errors.New("it sends more output than the job may write")}
	}
	return c.Take(maxPiece, func(piece []byte) error {
		r.hash[which].Write(piece)
		if r.to[which] == nil {
			r.kept[which] = append(r.kept[which], piece...)
			return nil
		}
		if _, err := r.to[which].Write(piece); err != nil {
			return local{fmt.Errorf("passing on the output: %w", err)}
		}
		return nil
	})
}

// sums are the digests of what has come.
func (r *received) sums() (stdout, stderr [sha256.Size]byte) {
	r.hash[0].Sum(stdout[:0])
	r.hash[1].Sum(stderr[:0])
	return stdout, stderr
}
