package images

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

// release signs the manifest and lays the release out as a provider serves it.
// What is written has been verified, under the root that is in the rootfs.
func (s Spec) release(ctx context.Context, rootfs string) (Result, error) {
	k := s.Pieces.Kernel
	files := map[string]string{"kernel": s.Pieces.artifactKernel(), "initramfs": s.Pieces.path(pieceInitramfs), "rootfs": rootfs}
	m := manifest.Manifest{
		Version: s.Version, Name: s.Name, Channel: s.Channel, Arch: k.Arch, Created: s.Created, Expires: s.Expires,
		Cmdline: k.Cmdline(), Artifacts: map[string]manifest.Artifact{},
	}
	for name, file := range files {
		a, err := measure(ctx, file)
		if err != nil {
			return Result{}, err
		}
		m.Artifacts[name] = a
	}
	signed, err := Sign(m, s.Root, s.Key)
	if err != nil {
		return Result{}, err
	}
	return Result{Manifest: signed.Manifest(), Envelope: signed.Envelope(), Digest: signed.Digest(),
		Folder: filepath.Join(s.Release, layout.Release(m.Channel, m.Arch))}, layOut(s.Release, signed, s.Root, files)
}

// Sign makes the envelope of a manifest and refuses one that the root refuses.
func Sign(m manifest.Manifest, root trust.Root, key ed25519.PrivateKey) (trust.Verified, error) {
	signed, err := trust.SignRelease(m, key)
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
