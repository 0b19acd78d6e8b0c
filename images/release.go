package images

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// Unsigned makes the manifest of the release for others to sign. Assemble, given
// what they have signed, makes the same bytes again.
func Unsigned(ctx context.Context, s Spec) (manifest.Manifest, error) {
	m, _, err := s.manifest(ctx)
	return m, err
}

// manifest describes the release, and says where its artifacts are.
func (s Spec) manifest(ctx context.Context) (m manifest.Manifest, files map[string]string, err error) {
	rootfs, err := s.Pieces.rootfs(ctx, s.Roots)
	if err != nil {
		return m, nil, fmt.Errorf("making the rootfs: %w", err)
	}
	if s.Expires.IsZero() {
		s.Expires = s.Created.Add(Lifetime)
	}
	k := s.Pieces.Kernel
	files = map[string]string{"kernel": s.Pieces.artifactKernel(), "initramfs": s.Pieces.path(pieceInitramfs), "rootfs": rootfs}
	m = manifest.Manifest{
		Version: s.Version, Name: s.Name, Channel: s.Channel, Arch: k.Arch, Created: s.Created, Expires: s.Expires,
		Cmdline: k.Cmdline(), Artifacts: map[string]manifest.Artifact{}, Rollout: s.Rollout,
	}
	for name, file := range files {
		if m.Artifacts[name], err = measure(ctx, file); err != nil {
			return m, nil, err
		}
	}
	return m, files, nil
}

// release signs the manifest and lays the release out as a provider serves it.
// What is written has been verified, under the last root that is in the rootfs.
func (s Spec) release(m manifest.Manifest, files map[string]string) (Result, error) {
	signed, err := s.sign(m)
	if err != nil {
		return Result{}, err
	}
	return Result{Manifest: signed.Manifest(), Envelope: signed.Envelope(), Digest: signed.Digest(),
		Folder: filepath.Join(s.Release, layout.Release(m.Channel, m.Arch))}, layOut(s.Release, signed, s.Roots, files)
}

// sign signs the manifest, or takes what others have signed, if that is it.
func (s Spec) sign(m manifest.Manifest) (trust.Verified, error) {
	if s.Signed == nil {
		return Sign(m, s.Roots.Last(), s.Key)
	}
	v, err := s.Roots.Last().VerifyHeld(s.Signed, m.Channel, m.Arch)
	if err != nil {
		return v, fmt.Errorf("verifying what was signed: %w", err)
	}
	payload, err := m.Payload()
	if err == nil && !bytes.Equal(payload, v.Payload()) {
		err = errors.New("what was signed is not what was built here: build it from the same commit, with the same roots")
	}
	return v, err
}

// Sign makes the envelope of a manifest and refuses one that the root refuses.
func Sign(m manifest.Manifest, root trust.Root, keys ...ed25519.PrivateKey) (trust.Verified, error) {
	signed, err := trust.SignRelease(m, keys...)
	if err != nil {
		return trust.Verified{}, fmt.Errorf("signing the manifest: %w", err)
	}
	v, err := root.VerifyHeld(signed, m.Channel, m.Arch)
	if err != nil {
		return trust.Verified{}, fmt.Errorf("the root does not accept these release keys: %w", err)
	}
	return v, nil
}

func measure(ctx context.Context, file string) (manifest.Artifact, error) {
	f, err := os.Open(file)
	if err != nil {
		return manifest.Artifact{}, err
	}
	defer f.Close()
	return manifest.Measure(ctx, f)
}
