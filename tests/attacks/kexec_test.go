package attacks

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/tests/storetest"
)

// kexecRows have kexec --dry-run judge folders of releases: what it would load
// is what is in them.
func kexecRows(t *testing.T, m *matrix) {
	p, stranger := newProject(t), storetest.NewSigner(t)
	arch := p.made.Running.Arch
	other := map[string]string{"x86_64": "arm64", "arm64": "x86_64"}[arch]
	folder := func(t *testing.T, signer *storetest.Signer, r storetest.Release) string {
		dir := t.TempDir()
		signer.Write(t, dir, r)
		return dir
	}
	file := func(dir, name string) string { return filepath.Join(dir, layout.Release("stable", arch), name) }
	refuses := func(t *testing.T, dir, code string) (string, bool) {
		e := call(t, "kexec", "--dry-run", "--root", write(t, "root.json", p.Root.Raw()), "--store", dir, "--state", t.TempDir())
		return e.said(), e.code == 1 && has(e.stderr, "("+code+")")
	}
	m.try(t, "kexec",
		row{1, "byte", "a byte of the rootfs is changed where it is held", func(t *testing.T) (string, bool) {
			dir := folder(t, p.Signer, p.next)
			rootfs := append([]byte{p.next.Bytes["rootfs"][0] ^ 1}, p.next.Bytes["rootfs"][1:]...)
			if err := os.WriteFile(file(dir, layout.FileName("rootfs")), rootfs, 0o644); err != nil {
				t.Fatal(err)
			}
			return refuses(t, dir, "digest")
		}},
		row{1, "stranger", "a folder of releases that a stranger signed", func(t *testing.T) (string, bool) {
			return refuses(t, folder(t, stranger, stranger.Release(t, "stable", arch, 99, storetest.Sizes)), "signature")
		}},
		row{2, "other-arch", "a release of another arch in the place of ours", func(t *testing.T) (string, bool) {
			dir := folder(t, p.Signer, p.Release(t, "stable", other, 99, storetest.Sizes))
			err := errors.Join(os.Rename(filepath.Join(dir, "stable", other), filepath.Join(dir, "stable", arch)))
			if err != nil {
				t.Fatal(err)
			}
			return refuses(t, dir, "arch")
		}},
		row{5, "held-expired", "a release that is held and has expired: it still boots", func(t *testing.T) (string, bool) {
			dir := folder(t, p.Signer, p.next)
			old := p.made.Changed(t, func(m *manifest.Manifest) { m.Created, m.Expires = time.Unix(1, 0), time.Unix(2, 0) })
			if err := os.WriteFile(file(dir, layout.ManifestFile), old, 0o644); err != nil {
				t.Fatal(err)
			}
			e := call(t, "kexec", "--dry-run", "--root", write(t, "root.json", p.Root.Raw()), "--store", dir, "--state", t.TempDir())
			return e.said(), e.code == 0 && has(e.stdout, "would load version 20")
		}},
		row{12, "short", "a rootfs that a power cut left short", func(t *testing.T) (string, bool) {
			dir := folder(t, p.Signer, p.next)
			if err := os.Truncate(file(dir, layout.FileName("rootfs")), 1000); err != nil {
				t.Fatal(err)
			}
			return refuses(t, dir, "size")
		}},
	)
}
