package kexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
)

// Files is a release whose artifacts are in files.
type Files struct {
	trust.Verified
	// Open opens an artifact by its name in the manifest.
	Open func(artifact string) (*os.File, error)
}

// InFolder is a release whose artifacts are in a folder.
type InFolder struct {
	Files
	dir *os.Root
}

// Close closes the folder.
func (c InFolder) Close() error { return c.dir.Close() }

// Choose verifies the manifests for this machine of every channel in a folder
// of releases and returns the version asked for, or with 0 the newest. What
// does not verify is passed over; when nothing does, the reasons are the error.
func Choose(releases *os.Root, root trust.Root, version uint64) (InFolder, error) {
	var best trust.Verified
	var problems []error
	arch := names.RunningArch()
	for _, channel := range names.Channels {
		data, err := statefile.ReadCappedIn(releases, layout.Manifest(channel, arch), envelope.MaxBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var v trust.Verified
		if err == nil {
			v, err = root.VerifyHeld(data, channel, arch)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", layout.Release(channel, arch), err))
			continue
		}
		number := v.Manifest().Version
		if (version == 0 || number == version) && (!best.Valid() || number > best.Manifest().Version) {
			best = v
		}
	}
	if best.Valid() {
		dir, err := releases.OpenRoot(layout.Release(best.Manifest().Channel, arch))
		open := func(artifact string) (*os.File, error) { return dir.Open(layout.FileName(artifact)) }
		return InFolder{Files{best, open}, dir}, err
	}
	if err := errors.Join(problems...); err != nil {
		return InFolder{}, err
	}
	if version != 0 {
		return InFolder{}, fmt.Errorf("%s holds no version %d for %s", releases.Name(), version, arch)
	}
	return InFolder{}, fmt.Errorf("%s holds no release for %s; fetch one with: fetch --output %s", releases.Name(), arch, releases.Name())
}

// Stage makes the place for the release and copies its artifacts there, which
// progress is told in bytes. They are verified there, not here: what counts
// are the bytes that are loaded.
func (c Files) Stage(ctx context.Context, o Options, progress func(n int64)) (*Staging, error) {
	s, err := Stage(ctx, c.Verified, o)
	if err != nil {
		return nil, err
	}
	for _, name := range s.Names() {
		if err := c.copyInto(ctx, s, name, progress); err != nil {
			return nil, errors.Join(fmt.Errorf("reading %s: %w", name, err), s.Close())
		}
	}
	return s, nil
}

func (c Files) copyInto(ctx context.Context, s *Staging, name string, progress func(n int64)) error {
	f, err := c.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := c.Manifest().Artifacts[name].Size
	if info.Size() != size {
		return refusal.New(refusal.Size, "the file has %d bytes, signed are %d", info.Size(), size)
	}
	region, err := s.Region(name, size)
	if err != nil {
		return err
	}
	to := io.NewOffsetWriter(region, 0)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(to, f, min(mib, size-at))
		if err != nil {
			return fmt.Errorf("at %d of %d bytes: %w", at+n, size, err)
		}
		at += n
		progress(n)
	}
	return nil
}
