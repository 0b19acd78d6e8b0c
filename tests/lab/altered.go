package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/base/names"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/images"
)

// Altered is version of a release with another content of one artifact, sound
// and signed: what a mistake of the people with the keys looks like. It has a
// folder and no disk.
func (l *Lab) Altered(r Release, version uint64, artifact string, content []byte) (Release, error) {
	dir, err := os.MkdirTemp(l.Dir, fmt.Sprintf("altered-%d-", version))
	if err != nil {
		return Release{}, err
	}
	m := r.Manifest
	m.Version, m.Name, m.Artifacts = version, fmt.Sprintf("test %d, another %s", version, artifact), map[string]manifest.Artifact{}
	var errs []error
	for name, a := range r.Manifest.Artifacts {
		to := filepath.Join(dir, layout.FileName(name))
		if name == artifact {
			a = manifest.Artifact{Size: int64(len(content)), SHA256: names.Sum(content)}
			errs = append(errs, os.WriteFile(to, content, 0o644))
		} else {
			errs = append(errs, os.Link(r.File(name), to))
		}
		m.Artifacts[name] = a
	}
	v, err := images.Sign(m, l.Root, l.Key)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, layout.ManifestFile), v.Envelope(), 0o644)
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return Release{}, fmt.Errorf("making version %d: %w", version, err)
	}
	result := images.Result{Manifest: v.Manifest(), Envelope: v.Envelope(), Digest: v.Digest(), Folder: dir}
	return Release{Result: result, Root: l.Root}, nil
}

// Flashed is a release on another disk, with settings in its phase.conf: the same
// files, and signed the same.
func (l *Lab) Flashed(ctx context.Context, r Release, settings ...string) (Release, error) {
	again, err := l.Release(ctx, r.Manifest.Version, Conf(settings...), func(s *images.Spec) { s.Created = r.Manifest.Created })
	if err == nil && again.Digest != r.Digest {
		err = fmt.Errorf("version %d came out as %s on another disk, it is %s", r.Manifest.Version, again.Digest, r.Digest)
	}
	return again, err
}
