package staging

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

func open(t *testing.T, dir string, r storetest.Release) *Folder {
	t.Helper()
	f, err := Open(dir, r.Verified)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// put writes what arrives of an artifact from the byte at which Region begins.
func put(t *testing.T, f *Folder, r storetest.Release, name string, to int) (from int64) {
	t.Helper()
	region, err := f.Region(name, int64(len(r.Bytes[name])))
	if err != nil {
		t.Fatal(err)
	}
	from = region.Have()
	if _, err := region.WriteAt(r.Bytes[name][from:to], from); err != nil {
		t.Fatal(err)
	}
	return from
}

func missing(t *testing.T, f *Folder, r storetest.Release) []string {
	t.Helper()
	names, err := f.Missing(t.Context(), []string{"rootfs", "kernel", "initramfs", "kernel"})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A release comes in two runs; what the first left is used by the second, and
// the manifest is there when all is.
func TestCommit(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	dir := t.TempDir()
	at := filepath.Join(dir, "stable", "arm64")
	manifest := filepath.Join(at, layout.ManifestFile)

	f := open(t, dir, r)
	if got := missing(t, f, r); !slices.Equal(got, []string{"initramfs", "kernel", "rootfs"}) {
		t.Errorf("missing at first: %v", got)
	}
	put(t, f, r, "rootfs", 1000)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Held(dir, signer.Root, "stable", "arm64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder in the making holds a release, or %v", err)
	}

	f = open(t, dir, r)
	for name, data := range r.Bytes {
		if from := put(t, f, r, name, len(data)); (from == 1000) != (name == "rootfs") {
			t.Errorf("%s goes on from %d", name, from)
		}
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(dir, signer.Root, "stable", "arm64"); err != nil || held.Digest() != r.Digest() {
		t.Errorf("held: %v", err)
	}
	if got := missing(t, f, r); len(got) > 0 {
		t.Errorf("missing at the end: %v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(at, "*"+layout.PartSuffix)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// Nothing to do: the manifest is not written again.
	f.Close()
	before, err := os.Stat(manifest)
	if err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, r)
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(manifest); err != nil || !os.SameFile(before, after) {
		t.Errorf("the manifest was replaced by itself: %v", err)
	}
}

// What is half replaced has no manifest: a manifest beside files it does not
// describe would be a lie.
func TestCommitTakesTheOldManifestAwayFirst(t *testing.T) {
	signer := storetest.NewSigner(t)
	dir := t.TempDir()
	signer.Write(t, dir, signer.Release(t, "stable", "arm64", 6, storetest.Sizes))
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	f := open(t, dir, r)
	put(t, f, r, "kernel", len(r.Bytes["kernel"]))
	// The rename fails: a folder is in the way.
	kernel := filepath.Join(dir, layout.Artifact("stable", "arm64", "kernel"))
	if err := errors.Join(os.Remove(kernel), os.Mkdir(kernel, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Fatal("a folder was replaced")
	}
	if _, err := Held(dir, signer.Root, "stable", "arm64"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old manifest: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	dir := t.TempDir()
	if _, err := Open(dir, trust.Verified{}); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("unverified: %v", err)
	}
	f := open(t, dir, r)
	if _, err := Open(dir, r.Verified); refusal.CodeOf(err) != refusal.Busy {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := f.Missing(t.Context(), []string{"dtb"}); err == nil {
		t.Error("an artifact that the release does not have")
	}
	if err := os.WriteFile(f.path("vmlinuz"), r.Bytes["kernel"], 0o644); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Missing(ended, []string{"kernel"}); !errors.Is(err, context.Canceled) {
		t.Errorf("looking went on: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	open(t, dir, r) // free again
}

func TestRoot(t *testing.T) {
	signer, other := storetest.NewSigner(t), storetest.NewSigner(t)
	dir := t.TempDir()
	for range 2 { // the second time it is there
		if err := errors.Join(CheckRoot(dir, signer.Root), KeepRoot(dir, signer.Root)); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "root", "1.json")); err != nil || !bytes.Equal(data, signer.Root.Raw()) {
		t.Errorf("kept: %v", err)
	}
	if err := CheckRoot(dir, other.Root); err == nil {
		t.Error("another root of the same version was taken")
	}
	// What somebody else has signed is no floor.
	r := other.Release(t, "stable", "arm64", 9, storetest.Sizes)
	other.Write(t, dir, r)
	if held, err := Held(dir, signer.Root, "stable", "arm64"); refusal.CodeOf(err) != refusal.Signature || held.Valid() {
		t.Errorf("held: %v", err)
	}
}
