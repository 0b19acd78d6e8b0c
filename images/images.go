// Package images turns a checkout into bytes to flash, to netboot and to serve.
// Compile runs gok and the Go compiler and leaves the pieces of one arch in a
// folder; Assemble makes a signed release and the images that carry it out of
// such pieces, in about a second, so that tests can have many releases from one
// compilation. All that the bytes depend on is an argument:
// root, keys, version, name, times, disk id. The same arguments on the same
// checkout give the same bytes, and nothing of the machine that builds (names,
// paths, users, certificates, time zone) gets in.
package images

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Lifetime is how long a release is accepted from the network unless Spec.Expires says otherwise.
const Lifetime = 180 * 24 * time.Hour

// Spec says which release to make out of some pieces.
type Spec struct {
	Pieces Pieces
	Key    ed25519.PrivateKey // that signs the manifest
	Root   trust.Root         // that is built into the rootfs

	Channel string
	Version uint64
	Name    string
	Created time.Time
	Expires time.Time // zero: Created + Lifetime

	// Conf holds settings for phase.conf, "phase.mode=local" each.
	Conf []string
	// DiskID is the seed of every identifier on the disk; empty: the manifest.
	DiskID []byte

	// Release is the folder that a provider serves; other releases in it stay.
	Release string
	// Disk and QCOW2 are the images to write, none when empty. QCOW2 is made
	// from Disk.
	Disk, QCOW2 string
}

// Result is what was made.
type Result struct {
	Manifest manifest.Manifest
	Envelope []byte       // manifest.json
	Digest   names.Digest // of its payload
	Folder   string       // with the manifest and the artifacts
	DiskID   gpt.ID
}

// Assemble makes the release and its images.
func Assemble(ctx context.Context, s Spec) (Result, error) {
	if s.Expires.IsZero() {
		s.Expires = s.Created.Add(Lifetime)
	}
	rootfs, err := s.Pieces.rootfs(ctx, s.Root.Raw())
	if err != nil {
		return Result{}, fmt.Errorf("making the rootfs: %w", err)
	}
	r, err := s.release(ctx, rootfs)
	if err != nil {
		return Result{}, fmt.Errorf("making the release: %w", err)
	}
	seed := s.DiskID
	if len(seed) == 0 {
		seed = r.Digest[:]
	}
	r.DiskID = gpt.NewID(seed)
	if s.Disk != "" {
		if err := s.disk(r, s.Disk); err != nil {
			return Result{}, fmt.Errorf("laying out the disk image: %w", err)
		}
	}
	if s.QCOW2 != "" {
		if err := toQCOW2(ctx, s.Disk, s.QCOW2); err != nil {
			return Result{}, fmt.Errorf("compressing the disk image: %w", err)
		}
	}
	return r, nil
}

// replace makes a file, and its folder, appear whole or not at all. write gets
// it empty.
func replace(path string, write func(f *os.File) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	p, err := statefile.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer p.Discard()
	if err := write(p.File); err != nil {
		return err
	}
	return p.Commit()
}

func replaceWith(path string, data []byte) error {
	return replace(path, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// copyFile copies with how, such as io.Copy: a hard link would be quicker, but a
// release changed in place would then change the pieces, and with them all other
// releases.
func copyFile(from, to string, how func(io.Writer, io.Reader) (int64, error)) error {
	return replace(to, func(f *os.File) error {
		r, err := os.Open(from)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = how(f, r)
		return err
	})
}
