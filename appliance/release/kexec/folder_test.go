package kexec

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/machine/linux"
	"phase/appliance/release/layout"
	"phase/tests/storetest"
)

// dry are Options for a machine with plenty of memory.
func dry() Options {
	plenty := func() (linux.Memory, error) { return linux.Memory{Total: 4 << 30, Available: 3 << 30}, nil }
	return Options{Memory: plenty, Freeable: func(context.Context) int64 { return 0 }}.DryRun()
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestChoose(t *testing.T) {
	signer, stranger, arch := storetest.NewSigner(t), storetest.NewSigner(t), names.RunningArch()
	dir := t.TempDir()
	signer.Write(t, dir, signer.Release(t, "stable", arch, 7, storetest.Sizes))
	signer.Write(t, dir, signer.Release(t, "testing", arch, 8, storetest.Sizes))
	// What is newer and from others is passed over while there is anything else.
	stranger.Write(t, dir, stranger.Release(t, "nightly", arch, 99, storetest.Sizes))
	releases := openRoot(t, dir)
	for asked, want := range map[uint64]uint64{0: 8, 7: 7, 8: 8} {
		found, err := Choose(releases, signer.Root, asked)
		if err != nil || found.Manifest().Version != want {
			t.Errorf("asked for %d: %d, %v", asked, found.Manifest().Version, err)
			continue
		}
		if err := found.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Choose(releases, signer.Root, 99); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("a stranger's version: %v", err)
	}
	if _, err := Choose(openRoot(t, t.TempDir()), signer.Root, 0); err == nil || !strings.Contains(err.Error(), "fetch --output") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestStageFromFolder(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", names.RunningArch(), 7, storetest.Sizes)
	dir := t.TempDir()
	signer.Write(t, dir, r)
	found, err := Choose(openRoot(t, dir), signer.Root, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var copied, total int64
	staging, err := found.Stage(t.Context(), dry(), func(n int64) { copied += n })
	if err != nil {
		t.Fatal(err)
	}
	defer staging.Close()
	for name, want := range r.Bytes {
		total += int64(len(want))
		region, err := staging.Region(name, int64(len(want)))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := region.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the %s in its place is another, or %v", name, err)
		}
	}
	if copied != total {
		t.Errorf("%d bytes of %d were told of", copied, total)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := found.Stage(ended, dry(), func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("copying went on: %v", err)
	}
	kernel := filepath.Join(dir, layout.Artifact("stable", names.RunningArch(), "kernel"))
	if err := os.WriteFile(kernel, r.Bytes["kernel"][1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := found.Stage(t.Context(), dry(), func(int64) {}); refusal.CodeOf(err) != refusal.Size {
		t.Errorf("a short kernel: %v", err)
	}
}
