package scheduler

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
)

// output hashes what a module writes and passes it on, or keeps it.
type output struct {
	hash hash.Hash
	to   io.Writer
	kept bytes.Buffer
}

func newOutput(to io.Writer) *output {
	o := &output{hash: sha256.New(), to: to}
	if to == nil {
		o.to = &o.kept
	}
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.hash.Write(p) // the module wrote it, whether or not it arrives
	return o.to.Write(p)
}

func (o *output) sum() (sum [sha256.Size]byte) {
	o.hash.Sum(sum[:0])
	return sum
}

// whole is an input that is there before the job begins.
type whole struct {
	*bytes.Reader
	data []byte
}

func (w whole) Sum() [sha256.Size]byte { return sha256.Sum256(w.data) }
