package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
)

// Check hashes every artifact of the releases in the list and deletes those that
// are damaged, so that they are fetched again. It returns what it found, and the
// error that ended it early.
func (s *Store) Check(ctx context.Context, list []Release) (found []Problem, err error) {
	var seen []names.Digest
	for _, r := range list {
		for _, a := range r.Manifest().Artifacts {
			if slices.Contains(seen, a.SHA256) {
				continue
			}
			seen = append(seen, a.SHA256)
			bad, err := s.checkBlob(ctx, a)
			if err != nil {
				return found, err
			}
			if bad != nil {
				found = append(found, Problem{blobFolder + "/" + a.SHA256.Hex(), bad})
			}
		}
	}
	return found, nil
}

// checkBlob returns what is wrong with a blob, which is deleted then. One that is
// not there is missing, and not damaged.
func (s *Store) checkBlob(ctx context.Context, want manifest.Artifact) (bad, err error) {
	f, err := s.Blob(want.SHA256)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, errNoFile) {
		return errNoFile, s.Damaged(want.SHA256)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	is, err := manifest.Measure(ctx, io.LimitReader(f, want.Size+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		bad = fmt.Errorf("it cannot be read (%w); it is fetched again", err)
	case is != want:
		bad = fmt.Errorf("its bytes are %s; it is fetched again", is.SHA256)
	default:
		return nil, nil
	}
	return bad, s.Damaged(want.SHA256)
}
