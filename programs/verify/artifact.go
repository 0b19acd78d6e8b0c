package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// checkArtifact holds a file against what the manifest says of an artifact.
// The error is the context's alone; all else is the check's answer.
func checkArtifact(ctx context.Context, m manifest.Manifest, f file) (trust.Check, error) {
	check := trust.Check{Name: "artifact " + f.artifact}
	digest, size, err := hash(ctx, m, f)
	if ctx.Err() != nil {
		return check, ctx.Err()
	}
	var refused *refusal.Refusal
	switch {
	case err == nil:
		check.OK, check.Detail = true, fmt.Sprintf("%d bytes, %s", size, digest)
	case errors.As(err, &refused):
		check.Code, check.Detail = refused.Code, refused.Detail
	default:
		check.Code, check.Detail = refusal.Unreachable, refusal.New(refusal.Unreachable, "%v", err).Detail
	}
	return check, nil
}

func hash(ctx context.Context, m manifest.Manifest, f file) (names.Digest, int64, error) {
	want, ok := m.Artifacts[f.artifact]
	if !ok {
		return names.Digest{}, 0, refusal.New(refusal.Digest, "the manifest names no artifact %q, so nobody vouches for %s", f.artifact, f.path)
	}
	in, err := os.Open(f.path)
	if err != nil {
		return names.Digest{}, 0, err
	}
	defer in.Close()
	sum := sha256.New()
	// One byte more than signed is enough to know; a device has no end.
	size, err := io.Copy(sum, contextReader{ctx, io.LimitReader(in, want.Size+1)})
	if err != nil {
		return names.Digest{}, size, err
	}
	digest := names.Digest(sum.Sum(nil))
	switch {
	case size > want.Size:
		return digest, size, refusal.New(refusal.Size, "%s has more than the %d bytes signed", f.path, want.Size)
	case size < want.Size:
		return digest, size, refusal.New(refusal.Size, "%s has %d bytes, signed are %d", f.path, size, want.Size)
	case digest != want.SHA256:
		return digest, size, refusal.New(refusal.Digest, "%s is %s, signed is %s", f.path, digest, want.SHA256)
	}
	return digest, size, nil
}

// contextReader ends a long read when the program is told to.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
