package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// checkArtifact compares a file with what the manifest says of an artifact.
// The error is the context's alone; all else is the check's answer.
func checkArtifact(ctx context.Context, m manifest.Manifest, f file) (trust.Check, error) {
	check := trust.Check{Name: "artifact " + f.artifact}
	is, err := measure(ctx, m, f)
	if ctx.Err() != nil {
		return check, ctx.Err()
	}
	if err == nil {
		check.OK, check.Detail = true, fmt.Sprintf("%d bytes, %s", is.Size, is.SHA256)
		return check, nil
	}
	var refused *refusal.Refusal
	if !errors.As(err, &refused) {
		refused = refusal.New(refusal.Unreachable, "%v", err)
	}
	check.Code, check.Detail = refused.Code, refused.Detail
	return check, nil
}

// measure refuses a file that is not the artifact signed.
func measure(ctx context.Context, m manifest.Manifest, f file) (is manifest.Artifact, err error) {
	want, ok := m.Artifacts[f.artifact]
	if !ok {
		return is, refusal.New(refusal.Digest, "the manifest names no artifact %q, so nobody vouches for %s", f.artifact, f.path)
	}
	in, err := os.Open(f.path)
	if err != nil {
		return is, err
	}
	defer in.Close()
	// One byte more than signed is enough to know; a device has no end.
	is, err = manifest.Measure(ctx, io.LimitReader(in, want.Size+1))
	switch {
	case err != nil:
		return is, err
	case is.Size > want.Size:
		return is, refusal.New(refusal.Size, "%s has more than the %d bytes signed", f.path, want.Size)
	case is.Size < want.Size:
		return is, refusal.New(refusal.Size, "%s has %d bytes, signed are %d", f.path, is.Size, want.Size)
	case is != want:
		return is, refusal.New(refusal.Digest, "%s is %s, signed is %s", f.path, is.SHA256, want.SHA256)
	}
	return is, nil
}
