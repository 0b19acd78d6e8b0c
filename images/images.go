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
	"phase/appliance/release/roots/chain"
	"phase/kernel"
)

// Lifetime is how long a release is accepted from the network unless Spec.Expires says otherwise.
const Lifetime = 180 * 24 * time.Hour

// Spec says which release to make out of some pieces.
type Spec struct {
	Pieces Pieces
	Key    ed25519.PrivateKey // that signs the manifest
	Signed []byte             // the envelope that others have signed, instead of Key
	Roots  chain.Chain        // that are built into the rootfs; the last names the key

	Channel string
	Version uint64
	Name    string
	Created time.Time
	Expires time.Time // zero: Created + Lifetime

	// Rollout is nil when all nodes take the release.
	Rollout *manifest.Rollout

	// Conf holds settings for phase.conf, "phase.mode=local" each.
	Conf []string
	// DiskID is the seed of every identifier on the disk; empty: the manifest.
	DiskID []byte

	// Release is the folder that a provider serves; other releases in it stay.
	Release string
	// Disk, Zstd and QCOW2 are the images to write, none when empty. Zstd, the
	// disk image compressed, and QCOW2 are made from Disk.
	Disk, Zstd, QCOW2 string
	// Netboot is the folder for what a network boot loader starts, none when empty.
	Netboot string
	// Board is whose image is written to BoardDisk, beside the others; nil for none.
	Board     *kernel.Board
	BoardDisk string
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
	m, files, err := s.manifest(ctx)
	if err != nil {
		return Result{}, err
	}
	r, err := s.release(m, files)
	if err != nil {
		return Result{}, fmt.Errorf("making the release: %w", err)
	}
	seed := s.DiskID
	if len(seed) == 0 {
		seed = r.Digest[:]
	}
	r.DiskID = gpt.NewID(seed)
	if s.Disk != "" {
		if err := s.disk(r, s.Disk, nil); err != nil {
			return Result{}, fmt.Errorf("laying out the disk image: %w", err)
		}
	}
	if s.Board != nil {
		if err := s.disk(r, s.BoardDisk, s.Board); err != nil {
			return Result{}, fmt.Errorf("laying out the disk image for %s: %w", s.Board.Name, err)
		}
		if s.Zstd != "" {
			if err := copyFile(s.BoardDisk, s.BoardDisk+zstdSuffix, compress); err != nil {
				return Result{}, fmt.Errorf("compressing the disk image for %s: %w", s.Board.Name, err)
			}
		}
	}
	if s.Zstd != "" {
		if err := copyFile(s.Disk, s.Zstd, compress); err != nil {
			return Result{}, fmt.Errorf("compressing the disk image: %w", err)
		}
	}
	if s.Netboot != "" {
		if err := Netboot(s.Pieces.Kernel, r, s.Netboot); err != nil {
			return Result{}, fmt.Errorf("laying out the netboot set: %w", err)
		}
	}
	if s.QCOW2 != "" {
		if err := toQCOW2(ctx, s.Disk, s.QCOW2); err != nil {
			return Result{}, fmt.Errorf("making the image for virtual machines: %w", err)
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
