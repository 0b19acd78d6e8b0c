package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/tool"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/images"
	"phase/tests/wallclock"
)

// need finds the tools of a build, or says why the test cannot run.
func need(t *testing.T) {
	t.Helper()
	for _, name := range append(images.ToolNames(), "git") {
		if _, err := tool.Find(name); err != nil {
			if os.Getenv("PHASE_REQUIRE") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	if !wallclock.Here {
		t.Log("both are built on the same date")
	}
}

// A release and its images assembled twice from the same pieces, in two folders, the
// second time in conditions that are others in all that one user can change.
func TestTwoAssemblies(t *testing.T) {
	need(t)
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	one, two, keys := filepath.Join(dir, "one"), filepath.Join(dir, "another folder", "two"), filepath.Join(dir, "keys")
	if _, err := images.MakeKeys(keys, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	second, err := unusual(checkout, two, filepath.Join(dir, "other"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []conditions{usual(checkout, one), second} {
		pieces := filepath.Join(c.out, "pieces", "x86_64")
		writePieces(t, pieces)
		err := c.images(t.Context(), "build", "--from", pieces, "--out", c.out, "--keys", keys,
			"--release-version", "7", "--name", "seven", "--created", "2026-11-23T12:00:00Z")
		if err != nil {
			t.Fatal(err)
		}
	}
	results, err := compare(one, two, "pieces", "release", "phase-x86_64.img", "phase-x86_64.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	if err := differences(results); err != nil {
		t.Error(err)
	}
	for _, r := range results {
		if !strings.HasPrefix(r.name, "pieces/") {
			t.Log(r.sha256, r.name)
		}
	}
}

// writePieces makes what images build compiles, of noise.
func writePieces(t *testing.T, dir string) {
	t.Helper()
	noise := func(n int) []byte {
		b := make([]byte, n)
		mathrand.NewChaCha8([32]byte{byte(n)}).Read(b)
		return b
	}
	files := map[string][]byte{
		"kernel": noise(3_000_001), "initramfs.img": noise(500_003), "mbr": noise(440), "boot.efi": noise(100_000), "perm.ext4": noise(1 << 20),
		"pieces.json": []byte(`{"arch":"x86_64","time":"2026-11-23T12:00:00Z"}`),
	}
	for _, name := range []string{"gokrazy/init", "user/phase", "user/phase-worker", "etc/group", "etc/hostname", "etc/hosts", "etc/passwd"} {
		files["rootfs/"+name] = noise(len(name) * 10_000)
	}
	for name, data := range files {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// The working tree built twice, in two folders, the second time on another date
// and under another umask, time zone, language and home: the short form of make
// reproduce, which has two users and both architectures besides. Where make image
// has built this commit, that is the first.
func TestTwoBuilds(t *testing.T) {
	if os.Getenv("PHASE_TIER") != "all" {
		t.Skip("compiles the whole system: PHASE_TIER=all; TestTwoAssemblies is the short form")
	}
	need(t)
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copied, two := filepath.Join(dir, "another folder", "phase"), filepath.Join(dir, "two")
	copyWorkingTree(t, checkout, copied)
	one, keys, args := firstBuild(t, checkout, dir)
	second, err := unusual(copied, two, filepath.Join(dir, "other"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.images(t.Context(), append(args, "--out", two, "--keys", keys)...); err != nil {
		t.Fatal(err)
	}
	// Others that are built keep more in such folders.
	const pieces, release = "pieces/x86_64/", "release/stable/x86_64/"
	results, err := compare(one, two, pieces+"rootfs", pieces+"kernel", pieces+"mbr", pieces+"boot.efi", pieces+"perm.ext4",
		release+"vmlinuz", release+"initramfs.img", release+"rootfs.squashfs", release+"manifest.json", "phase-x86_64.img")
	if err != nil {
		t.Fatal(err)
	}
	if err := differences(results); err != nil {
		t.Error(err)
	}
	for _, r := range results {
		if !strings.HasPrefix(r.name, pieces) {
			t.Log(r.sha256, r.name)
		}
	}
}

// firstBuild is what make image has built from this commit, or else a build of the
// working tree: its folder, its keys, and how to build it again.
func firstBuild(t *testing.T, checkout, dir string) (out, keys string, args []string) {
	t.Helper()
	args = []string{"build", "--arch", "x86_64", "--no-qcow2"}
	out, keys = filepath.Join(checkout, "build"), filepath.Join(checkout, "build", "keys")
	if made, err := built(t, checkout, out); err == nil {
		return out, keys, append(args, "--release-version", strconv.FormatUint(made.Version, 10), "--name", made.Name, "--created", made.Created.Format(time.RFC3339),
			"--expires", made.Expires.Format(time.RFC3339))
	} else {
		t.Log("both are built here: ", err)
	}
	out, keys = filepath.Join(dir, "one"), filepath.Join(dir, "keys")
	if _, err := images.MakeKeys(keys, rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	args = append(args, "--release-version", "7", "--name", "seven", "--created", "2026-11-23T12:00:00Z")
	if err := usual(checkout, out).images(t.Context(), append(args, "--out", out, "--keys", keys)...); err != nil {
		t.Fatal(err)
	}
	return out, keys, args
}

// built is the manifest of what was built in a checkout, if that is its commit and
// nothing has changed since.
func built(t *testing.T, checkout, out string) (m manifest.Manifest, err error) {
	t.Helper()
	pieces, err := images.LoadPieces(filepath.Join(out, "pieces", "x86_64"))
	if err != nil {
		return m, err
	}
	commit, err := pieces.Commit()
	if err != nil {
		return m, err
	}
	git := func(args ...string) string {
		command := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", checkout}, args...)...)
		said, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(said))
	}
	if head := git("rev-parse", "HEAD"); head != commit || git("status", "--porcelain") != "" {
		return m, errors.New("what make image has built is not what is here")
	}
	data, err := os.ReadFile(filepath.Join(out, "release", layout.Manifest("stable", "x86_64")))
	if err != nil {
		return m, err
	}
	env, err := envelope.Parse(data)
	if err != nil {
		return m, err
	}
	return manifest.Parse(env.Payload)
}

// copyWorkingTree copies what git knows, and what it would add.
func copyWorkingTree(t *testing.T, from, to string) {
	t.Helper()
	list := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = from
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, and that not committed yet
		}
		at := filepath.Join(to, name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// Each difference is seen, and the first one is named with its offset.
func TestCompare(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	large := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	changed := bytes.Clone(large)
	changed[1_234_567] ^= 1
	put := func(dir, name string, data []byte) {
		t.Helper()
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{first, second} {
		put(dir, "a/same", large)
		put(dir, "a/gok/left", []byte(dir))
		put(dir, "a/origin.json", []byte(dir))
		put(dir, "a/empty", nil)
		if err := os.Symlink("same", filepath.Join(dir, "a/link")); err != nil {
			t.Fatal(err)
		}
	}
	results, err := compare(first, second, "a")
	if err != nil || len(results) != 3 || differences(results) != nil {
		t.Errorf("%+v, %v", results, err)
	}
	if results[2].sha256 == "" || results[2].name != "a/same" {
		t.Errorf("the last is %+v", results[2])
	}
	put(first, "b/changed", large)
	put(second, "b/changed", changed)
	put(first, "b/only", nil)
	put(first, "b/shorter", large[:10])
	put(second, "b/shorter", large[:20])
	put(second, "c/only", nil)
	put(first, "c/kind", []byte("same"))
	for dir, to := range map[string]string{first: "one", second: "two"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "c"), 0o755), os.Symlink(to, filepath.Join(dir, "c/link"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("same", filepath.Join(second, "c/kind")); err != nil {
		t.Fatal(err)
	}
	if results, err = compare(first, second, "a", "b", "c"); err != nil {
		t.Fatal(err)
	}
	want := "b/changed differs first at byte 1234567\nb/only is not in build 2\nb/shorter differs first at byte 10\n" +
		"c/kind is of another kind\nc/link links to \"one\" and \"two\"\nc/only is not in build 1"
	if err := differences(results); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := compare(first, second, "nothing"); err == nil {
		t.Error("what neither build has made is the same")
	}
}

// The tools of another Debian are run with its own libraries.
func TestWrap(t *testing.T) {
	root, to := filepath.Join(t.TempDir(), "it's Debian"), t.TempDir()
	if err := wrap(root, to); err == nil || !strings.Contains(err.Error(), "ld-linux") {
		t.Errorf("an empty folder: %v", err)
	}
	put := func(name, script string) {
		t.Helper()
		at := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(script), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	put("usr/lib64/ld-linux-x86-64.so.2", "#!/bin/sh\nfor a; do echo \"<$a>\"; done\n")
	if err := wrap(root, to); err == nil || !strings.Contains(err.Error(), "mcopy") {
		t.Errorf("no tools: %v", err)
	}
	for _, name := range images.ToolNames() {
		put("usr/bin/"+name, "")
	}
	if err := wrap(root, to); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(to, "mkfs.ext4"), "-L", "a b").CombinedOutput()
	if want := "<" + root + "/usr/bin/mkfs.ext4>\n<-L>\n<a b>\n"; err != nil || !strings.HasSuffix(string(out), want) || !strings.Contains(string(out), "<mkfs.ext4>") {
		t.Errorf("it ran %s, %v", out, err)
	}
}
