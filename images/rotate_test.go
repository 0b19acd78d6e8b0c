package images

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
)

// rotated is a folder of keys with the roots 1 and 2: the second needs two keys
// for a release, release.pem and second.pem.
func rotated(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	must(t, "key", dir)
	must(t, "key", "--name", "second", dir)
	must(t, "rotate", "-k", dir, "--add", "release="+filepath.Join(dir, "second.pub"), "--threshold", "release=2")
	return dir
}

func must(t *testing.T, args ...string) (said string) {
	t.Helper()
	said, log, code := runImages(args...)
	if code != 0 {
		t.Fatalf("images %s: exit code %d: %s%s", strings.Join(args, " "), code, said, log)
	}
	return said
}

func refused(t *testing.T, says string, args ...string) {
	t.Helper()
	if said, log, code := runImages(args...); code != 1 || !strings.Contains(log, says) {
		t.Errorf("images %s: exit code %d, want %q: %s%s", strings.Join(args, " "), code, says, said, log)
	}
}

// A build is signed by two people, on machines that have neither pieces nor
// roots. The image carries both roots, and the same inputs give the same bytes.
func TestBuildSignedByTwo(t *testing.T) {
	need(t, "unsquashfs")
	keys, p := rotated(t), handmade(t, "x86_64")
	out, away := t.TempDir(), t.TempDir()
	build := func(more ...string) []string {
		return append([]string{"build", "--keys", keys, "--from", p.Dir, "--out", out, "--no-qcow2", "--checkout", ".."}, more...)
	}
	named := []string{"--release-version", "7", "--name", "seven", "--created", "2026-11-23T12:00:00Z", "--rollout", "20"}
	refused(t, "does not accept these release keys", build(named...)...)
	draft := filepath.Join(out, "draft.json")
	must(t, build(append(named, "--export", draft)...)...)
	if _, err := os.Stat(filepath.Join(out, "release")); err == nil {
		t.Error("what nobody has signed was put into the folder of releases")
	}
	copies := []string{filepath.Join(away, "a.json"), filepath.Join(away, "b.json")}
	for i, key := range []string{"release.pem", "second.pem"} {
		write(t, copies[i], read(t, draft))
		if said := must(t, "sign", "--key", filepath.Join(keys, key), copies[i]); !strings.Contains(said, "version 7 (seven)") || !strings.Contains(said, "20 % of the nodes") {
			t.Errorf("who signs is shown %s", said)
		}
	}
	refused(t, "threshold", build("--import", copies[0])...)
	must(t, build("--import", copies[0], "--import", copies[1])...)
	image := filepath.Join(out, "phase-x86_64.img")
	first := read(t, image)
	if said := must(t, "inspect", image, "--root", filepath.Join(keys, "root.json")); !strings.Contains(said, "signature verified") {
		t.Error(said)
	}
	must(t, build("--import", copies[1], "--import", copies[0])...)
	if !bytes.Equal(first, read(t, image)) {
		t.Error("the order of the files changes the bytes")
	}
	checkRoots(t, filepath.Join(out, "release"), keys)

	// Pieces that are not those which were signed.
	write(t, p.path(pieceInitramfs), noise(99, 500_003))
	refused(t, "not what was built here", build("--import", copies[0], "--import", copies[1])...)
}

// checkRoots finds the two roots in the rootfs of a release and beside it.
func checkRoots(t *testing.T, release, keys string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rootfs")
	runTool(t, "unsquashfs", "-no-progress", "-d", dir, filepath.Join(release, "stable/x86_64/rootfs.squashfs"))
	l, err := roots.LoadChain(filepath.Join(dir, rootFile))
	if err != nil || len(l.Problems) > 0 || l.Last().Version() != 2 {
		t.Errorf("the rootfs has root %d, %v, %v", l.Last().Version(), err, l.Problems)
	}
	trusted, err := LoadRoots(keys)
	if err != nil || l.Chain.Fleet() != trusted.Fleet() || !bytes.Equal(l.Last().Raw(), trusted.Last().Raw()) {
		t.Errorf("the rootfs has other roots than the keys: %v", err)
	}
	for _, path := range []string{"root/1.json", "root/2.json"} {
		if _, err := roots.Load(filepath.Join(release, path)); err != nil {
			t.Error(err)
		}
	}
	for path, mode := range map[string]os.FileMode{rootFolder: os.ModeDir | 0o755, filepath.Join(rootFolder, "2.json"): 0o644} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if files, err := os.ReadDir(filepath.Join(dir, rootFolder)); err != nil || len(files) != 1 {
		t.Errorf("in %s: %v, %v", rootFolder, files, err)
	}
}

// A later root that is damaged stops who builds: nodes may know the good one.
func TestDamagedRootsAreRefused(t *testing.T) {
	keys := rotated(t)
	file := filepath.Join(keys, "root", "2.json")
	if trusted, err := LoadRoots(keys); err != nil || trusted.Last().Version() != 2 {
		t.Fatalf("version %d, %v", trusted.Last().Version(), err)
	}
	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadKeys(keys); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("torn: %v", err)
	}
	refused(t, "root/2.json", "rotate", "-k", keys, "--dry-run")
	said, _, code := runImages("inspect", keys)
	if code != 1 || !strings.Contains(said, "root version 1") {
		t.Errorf("inspect: exit code %d: %s", code, said)
	}
}

// What is finished is never made anew, and a dry run writes nothing.
func TestRotateWritesOnce(t *testing.T) {
	keys := rotated(t)
	before, err := LoadRoots(keys)
	if err != nil {
		t.Fatal(err)
	}
	draft := filepath.Join(t.TempDir(), "draft.json")
	must(t, "rotate", "-k", keys, "--remove", filepath.Join(keys, "second.pub"), "--threshold", "release=1", "--export", draft)
	if said := must(t, "rotate", "-k", keys, "--import", draft, "--dry-run"); !strings.Contains(said, "role release: - key ") {
		t.Error(said)
	}
	if after, err := LoadRoots(keys); err != nil || after.Last().Version() != before.Last().Version() {
		t.Errorf("version %d, %v", after.Last().Version(), err)
	}
	served := filepath.Join(t.TempDir(), "release")
	must(t, "rotate", "-k", keys, "--import", draft, "-o", served)
	refused(t, "version 4 is the next one", "rotate", "-k", keys, "--import", draft)
	after, err := LoadRoots(keys)
	if ids, threshold := after.Last().Role(trust.RoleRelease); err != nil || after.Last().Version() != 3 || len(ids) != 1 || threshold != 1 {
		t.Errorf("%d of %v, %v", threshold, ids, err)
	}
	if !bytes.Equal(read(t, filepath.Join(served, "root", "3.json")), after.Last().Raw()) {
		t.Error("another root was put beside the releases")
	}
}
