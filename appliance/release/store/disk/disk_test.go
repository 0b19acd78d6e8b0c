package disk_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/release/layout"
	"phase/appliance/release/store/disk"
	"phase/tests/storetest"
	"phase/tests/storetest/ondisk"
)

func keep(t testing.TB, s *disk.Store, r storetest.Release) {
	t.Helper()
	if err := ondisk.Keep(s, r); err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB) (s *disk.Store, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "store")
	s, err := disk.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return s, path
}

// versions are those of the whole releases in a store.
func versions(s *disk.Store, signer *storetest.Signer) (list []uint64, problems []disk.Problem) {
	releases, problems := s.Releases(signer.Root, "x86_64")
	for _, r := range releases {
		if r.Whole() {
			list = append(list, r.Manifest().Version)
		}
	}
	return list, problems
}

func want(t *testing.T, s *disk.Store, signer *storetest.Signer, list ...uint64) {
	t.Helper()
	if got, problems := versions(s, signer); !slices.Equal(got, list) || len(problems) != 0 {
		t.Errorf("it has %d, problems %v; want %d", got, problems, list)
	}
}

// TestKeep: what was committed is there, newest first, with its bytes, for one who
// opens the store later too.
func TestKeep(t *testing.T) {
	signer := storetest.NewSigner(t)
	s, path := create(t)
	one, two := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes), signer.Release(t, "stable", "x86_64", 2, storetest.Sizes)
	keep(t, s, two)
	keep(t, s, one)
	s, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, signer, 2, 1)
	f, err := s.Blob(two.Manifest().Artifacts["kernel"].SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if data, err := io.ReadAll(f); err != nil || string(data) != string(two.Bytes["kernel"]) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := s.Blob(names.Sum(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob of nobody: %v", err)
	}
	if list, _ := s.Releases(storetest.NewSigner(t).Root, "x86_64"); len(list) != 0 {
		t.Error("a stranger's root vouches for it")
	}
	if list, _ := s.Releases(signer.Root, "arm64"); len(list) != 0 {
		t.Error("it has releases of another arch")
	}
}

func TestOpenNothing(t *testing.T) {
	if _, err := disk.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestNotWhole: a release without one of its artifacts is not committed.
func TestNotWhole(t *testing.T) {
	signer := storetest.NewSigner(t)
	s, _ := create(t)
	d, err := s.Begin(signer.Release(t, "stable", "x86_64", 1, storetest.Sizes).Verified)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Commit(); err == nil || !strings.Contains(err.Error(), `not whole: ["initramfs" "kernel" "rootfs"]`) {
		t.Error(err)
	}
	want(t, s, signer)
}

// TestDamage: whatever is wrong with a file of the store costs that file alone: it
// is said, and the rest is there.
func TestDamage(t *testing.T) {
	signer := storetest.NewSigner(t)
	one, two := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes), signer.Release(t, "stable", "x86_64", 2, storetest.Sizes)
	blob := "blobs/sha256/" + two.Manifest().Artifacts["rootfs"].SHA256.Hex()
	document := "releases/" + two.Digest().Hex() + ".json"
	changes := map[string]func(path string) error{
		"gone":      os.Remove,
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"truncated": func(path string) error { return os.Truncate(path, 100) },
		"swapped": func(path string) error {
			data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "..", "..", "releases", one.Digest().Hex()+".json"))
			if err != nil {
				data, err = os.ReadFile(filepath.Join(filepath.Dir(path), one.Digest().Hex()+".json"))
			}
			return errors.Join(err, os.WriteFile(path, data, 0o644))
		},
		"a folder": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
		"a link":   func(path string) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
	}
	for _, file := range []string{blob, document} {
		for name, change := range changes {
			t.Run(filepath.Dir(file)+" "+name, func(t *testing.T) {
				s, path := create(t)
				keep(t, s, one)
				keep(t, s, two)
				if err := change(filepath.Join(path, file)); err != nil {
					t.Fatal(err)
				}
				s, err := disk.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				got, problems := versions(s, signer)
				if !slices.Equal(got, []uint64{1}) {
					t.Errorf("it has %d", got)
				}
				// What is no plain file was deleted by Create, which has said so.
				gone := name == "gone" || name == "a folder" || name == "a link"
				if _, err := os.Lstat(filepath.Join(path, file)); gone != errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the file after the next start: %v", err)
				}
				if file == document && !gone && len(problems) != 1 {
					t.Errorf("problems %v", problems)
				}
			})
		}
	}
}

// TestCheck: bytes that changed without their size are found by hashing alone.
func TestCheck(t *testing.T) {
	signer := storetest.NewSigner(t)
	s, path := create(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	keep(t, s, r)
	check := func() []disk.Problem {
		t.Helper()
		list, _ := s.Releases(signer.Root, "x86_64")
		found, err := s.Check(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := check(); len(found) != 0 {
		t.Errorf("a good store: %v", found)
	}
	file := filepath.Join(path, "blobs/sha256", r.Manifest().Artifacts["kernel"].SHA256.Hex())
	data := slices.Clone(r.Bytes["kernel"])
	data[50_000] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, s, signer, 1)
	if found := check(); len(found) != 1 || !strings.Contains(found[0].String(), "fetched again") {
		t.Errorf("found %v", found)
	}
	want(t, s, signer)
	keep(t, s, r) // the kernel alone
	want(t, s, signer, 1)
	if found := check(); len(found) != 0 {
		t.Errorf("after the repair: %v", found)
	}
}

// TestLeftovers: what a write that was cut short has left is deleted, a part that
// may be gone on with is not, and nothing that has a name is touched.
func TestLeftovers(t *testing.T) {
	signer := storetest.NewSigner(t)
	s, path := create(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	keep(t, s, r)
	part := "blobs/sha256/" + names.Sum(nil).Hex() + layout.PartSuffix
	for _, name := range []string{"releases/.x.json123", "floor/.stable-x86_64.json9", "blobs/sha256/x", "root/1.json.tmp", part} {
		if err := os.WriteFile(filepath.Join(path, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := disk.Create(path); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(path, file)
			left = append(left, name)
		}
		return err
	})
	expect := []string{part, "releases/" + r.Digest().Hex() + ".json"}
	for _, a := range r.Manifest().Artifacts {
		expect = append(expect, "blobs/sha256/"+a.SHA256.Hex())
	}
	slices.Sort(expect)
	slices.Sort(left)
	if err != nil || !slices.Equal(left, expect) {
		t.Errorf("left %q, %v", left, err)
	}
}

// TestResume: a part that was kept is gone on with.
func TestResume(t *testing.T) {
	signer := storetest.NewSigner(t)
	s, _ := create(t)
	r := signer.Release(t, "stable", "x86_64", 1, storetest.Sizes)
	kernel := r.Bytes["kernel"]
	begin := func() (have int64) {
		d, err := s.Begin(r.Verified)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		region, err := d.Region("kernel", int64(len(kernel)))
		if err != nil {
			t.Fatal(err)
		}
		have = region.Have()
		if _, err := region.WriteAt(kernel[:40_000], 0); err != nil {
			t.Fatal(err)
		}
		if err := region.Keep(40_000); err != nil {
			t.Fatal(err)
		}
		return have
	}
	if first, then := begin(), begin(); first != 0 || then != 40_000 {
		t.Errorf("it has %d bytes, and then %d", first, then)
	}
	d, err := s.Begin(r.Verified)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, bad := range []int64{0, 1, int64(len(kernel)) + 1} {
		if _, err := d.Region("kernel", bad); err == nil {
			t.Errorf("a kernel of %d bytes has a place", bad)
		}
	}
}

// TestPrune: what is not to be kept goes, with the bytes that nothing else names.
func TestPrune(t *testing.T) {
	signer := storetest.NewSigner(t)
	s, path := create(t)
	for v := range uint64(4) {
		r := signer.Release(t, "stable", "x86_64", v+1, storetest.Sizes)
		keep(t, s, r)
	}
	list, _ := s.Releases(signer.Root, "x86_64")
	if err := s.Prune(list, func(r disk.Release) bool { return r.Manifest().Version%2 == 0 }); err != nil {
		t.Fatal(err)
	}
	want(t, s, signer, 4, 2)
	if err := os.WriteFile(filepath.Join(path, "blobs/sha256", names.Sum(nil).Hex()+layout.PartSuffix), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(list[:1], func(disk.Release) bool { return true }); err != nil {
		t.Fatal(err)
	}
	want(t, s, signer, 4, 2) // what nothing vouches for now may be good
	if err := s.Prune(list, func(disk.Release) bool { return true }); err != nil {
		t.Fatal(err)
	}
	blobs, err := os.ReadDir(filepath.Join(path, "blobs/sha256"))
	if err != nil || len(blobs) != 2*len(storetest.Sizes)+1 {
		t.Errorf("%d blobs, %v", len(blobs), err)
	}
	// A disk that has room loses nothing; one that never will have it neither.
	next := signer.Release(t, "stable", "x86_64", 9, storetest.Sizes)
	list, _ = s.Releases(signer.Root, "x86_64")
	if err := s.MakeRoom(next.Verified, list, func(disk.Release) bool { return false }); err != nil {
		t.Fatal(err)
	}
	want(t, s, signer, 4, 2)
}

// TestFloor: it rises and never falls, but with the root that takes a key back.
func TestFloor(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	s, path := create(t)
	floor := func(signer *storetest.Signer) uint64 {
		v, ok := s.Floor(signer.Root, "stable", "x86_64")
		if !ok {
			return 0
		}
		return v.Manifest().Version
	}
	for _, c := range []struct{ version, want uint64 }{{5, 5}, {3, 5}, {1<<53 - 1, 1<<53 - 1}, {6, 1<<53 - 1}} {
		if err := s.RaiseFloor(one.Root, one.Release(t, "stable", "x86_64", c.version, storetest.Sizes).Verified); err != nil {
			t.Fatal(err)
		}
		if got := floor(one); got != c.want {
			t.Errorf("after %d the floor is %d, want %d", c.version, got, c.want)
		}
	}
	if got := floor(two); got != 0 {
		t.Errorf("under the next root the floor is %d", got)
	}
	if err := s.RaiseFloor(two.Root, two.Release(t, "stable", "x86_64", 7, storetest.Sizes).Verified); err != nil || floor(two) != 7 {
		t.Errorf("it is %d then, %v", floor(two), err)
	}
	if _, ok := s.Floor(two.Root, "testing", "x86_64"); ok {
		t.Error("another channel has a floor")
	}
	if err := os.WriteFile(filepath.Join(path, "floor/stable-x86_64.json"), []byte("{"), 0o644); err != nil || floor(two) != 0 {
		t.Errorf("a torn floor is %d, %v", floor(two), err)
	}
	if err := errors.Join(s.AddRoot(two.Root), s.AddRoot(two.Root)); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(path, layout.Root(two.Root.Version()))); err != nil || string(data) != string(two.Root.Raw()) {
		t.Errorf("the root is kept as %q, %v", data, err)
	}
}
