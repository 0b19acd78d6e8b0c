package manifest

import (
	"context"
	"crypto/sha256"
	"io"

	"phase/appliance/base/names"
)

// Measure reads r to its end and says which artifact its bytes are. A read of
// something that may be larger than it should is limited by the caller. The
// end of ctx ends it, with the cause.
func Measure(ctx context.Context, r io.Reader) (a Artifact, err error) {
	sum := sha256.New()
	a.Size, err = io.Copy(sum, contextReader{ctx, r})
	a.SHA256 = names.Digest(sum.Sum(nil))
	return a, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
