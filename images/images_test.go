package images

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/keyfile"
	"phase/appliance/base/names"
	"phase/appliance/base/tool"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/roots/chain"
	"phase/kernel"
)

var day = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// need finds an outside tool, or says why the test cannot run.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, name := range tools {
		if _, err := tool.Find(name); err != nil {
			if os.Getenv("PHASE_REQUIRE") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

func randomness(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// noise is n bytes that do not compress, always the same for a seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	randomness(seed).Read(b)
	return b
}

// handmade are pieces as Compile leaves them, with noise for kernel and
// programs: everything but what gok and the compiler do is real.
func handmade(t testing.TB, arch string) Pieces {
	t.Helper()
	need(t, "mksquashfs", "mkfs.ext4")
	k, err := kernel.For(arch)
	if err != nil {
		t.Fatal(err)
	}
	p := Pieces{Dir: t.TempDir(), Kernel: k, Time: day}
	from := filepath.Join(t.TempDir(), "root")
	for _, e := range rootfsTable {
		if e.mode.IsRegular() && e.link == "" {
			write(t, filepath.Join(from, e.path), noise(3, 20_000))
		}
	}
	// What gok also puts there, of the machine that builds.
	write(t, filepath.Join(from, "etc/localtime"), []byte("Europe/Berlin"))
	write(t, filepath.Join(from, "etc/ssl/ca-bundle.pem"), []byte("Example Company"))
	if err := keepTree(from, p.path(pieceTree)); err != nil {
		t.Fatal(err)
	}
	write(t, p.path(pieceImage), noise(1, 3_000_001))
	if k.Compressed {
		write(t, p.path(pieceKernel), compressed(t, noise(1, 3_000_001)))
	}
	write(t, p.path(pieceInitramfs), noise(2, 500_003))
	write(t, p.path(pieceLoader), noise(5, gpt.LoaderSize))
	write(t, p.path(pieceEFI), noise(6, 100_000))
	if err := p.formatPerm(context.Background(), Source{}); err != nil {
		t.Fatal(err)
	}
	if err := p.describe(context.Background(), Source{}); err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func testKeys(t testing.TB, seed byte) (release, rootKey ed25519.PrivateKey, trusted chain.Chain) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := MakeKeys(dir, randomness(seed), day); err != nil {
		t.Fatal(err)
	}
	release, trusted, err := LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	rootKey, err = keyfile.Read(filepath.Join(dir, rootKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return release, rootKey, trusted
}

func spec(t testing.TB, p Pieces, out string) Spec {
	key, _, trusted := testKeys(t, 9)
	return Spec{Pieces: p, Key: key, Roots: trusted, Channel: "stable", Version: 42, Name: "a test", Created: day,
		Release: filepath.Join(out, "release"), Disk: filepath.Join(out, "disk.img")}
}

func assemble(t testing.TB, s Spec) Result {
	t.Helper()
	r, err := Assemble(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOtherToolsFindNothingWrong(t *testing.T) {
	need(t, "sgdisk", "fsck.fat", "e2fsck", "qemu-img", "unsquashfs")
	for _, arch := range names.Arches {
		t.Run(arch, func(t *testing.T) {
			out := t.TempDir()
			s := spec(t, handmade(t, arch), out)
			s.QCOW2 = filepath.Join(out, "disk.qcow2")
			assemble(t, s)
			checkDisk(t, s.Disk)
			runTool(t, "qemu-img", "check", s.QCOW2)
			runTool(t, "qemu-img", "compare", s.QCOW2, s.Disk) // what the QCOW2 has beyond is zeros
			if said := runTool(t, "qemu-img", "info", s.QCOW2); !strings.Contains(said, fmt.Sprintf("(%d bytes)", int64(qcow2Bytes))) {
				t.Errorf("the QCOW2 has another virtual size:\n%s", said)
			}
		})
	}
}

// checkDisk lets the tools of others look at a disk image.
func checkDisk(t *testing.T, path string) {
	t.Helper()
	if out := runTool(t, "sgdisk", "-v", path); !strings.Contains(out, "No problems found") || strings.Contains(strings.ToLower(out), "warning") {
		t.Errorf("sgdisk: %s", out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image, err := flash.OpenImage(f)
	if err != nil {
		t.Fatal(err)
	}
	for number, check := range map[int][]string{
		disk.Boot: {"fsck.fat", "-n"},
		disk.Root: {"unsquashfs", "-lls"},
		disk.Perm: {"e2fsck", "-fn"},
	} {
		p, err := image.Table.Partition(number)
		if err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(t.TempDir(), "partition")
		data := make([]byte, p.Size)
		if _, err := f.ReadAt(data, p.Start); err != nil {
			t.Fatal(err)
		}
		write(t, part, data)
		runTool(t, check[0], append(check[1:], part)...)
	}
}

func runTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := tool.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestSameInputsSameBytes(t *testing.T) {
	need(t, "qemu-img")
	var made [2]Spec
	for i := range made {
		out := t.TempDir()
		made[i] = spec(t, handmade(t, "x86_64"), out)
		made[i].QCOW2 = filepath.Join(out, "disk.qcow2")
		assemble(t, made[i])
	}
	for _, path := range []func(Spec) string{
		func(s Spec) string { return s.Disk }, func(s Spec) string { return s.QCOW2 },
		func(s Spec) string { return filepath.Join(s.Release, "stable/x86_64/manifest.json") },
		func(s Spec) string { return filepath.Join(s.Release, "stable/x86_64/rootfs.squashfs") },
	} {
		if !bytes.Equal(read(t, path(made[0])), read(t, path(made[1]))) {
			t.Errorf("%s differs", filepath.Base(path(made[0])))
		}
	}
}

func TestRootfsHoldsWhatTheTableSays(t *testing.T) {
	need(t, "unsquashfs")
	s := spec(t, handmade(t, "x86_64"), t.TempDir())
	r := assemble(t, s)
	dir := filepath.Join(t.TempDir(), "rootfs")
	runTool(t, "unsquashfs", "-no-progress", "-d", dir, filepath.Join(r.Folder, "rootfs.squashfs"))
	want := map[string]fs.FileMode{rootFile: 0o644}
	for file := range rootfsPieces {
		want[file] = 0o644
	}
	for _, e := range rootfsTable {
		want[e.path] = e.mode
		if e.link != "" {
			want[e.path] = fs.ModeSymlink | 0o777
		}
	}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode, ok := want[path]
		if !ok || info.Mode() != mode {
			t.Errorf("%s: mode %v, want %v", path, info.Mode(), mode)
		}
		if !info.ModTime().Equal(day) {
			t.Errorf("%s: of %v, want %v", path, info.ModTime(), day)
		}
		delete(want, path)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v, missing: %v", err, want)
	}
	if !bytes.Equal(read(t, filepath.Join(dir, rootFile)), s.Roots.Last().Raw()) {
		t.Error("the root document in the rootfs is another one")
	}
	for file, piece := range rootfsPieces {
		if !bytes.Equal(read(t, filepath.Join(dir, file)), read(t, s.Pieces.path(piece))) {
			t.Errorf("%s in the rootfs is another one", file)
		}
	}
}

// Other releases are assembled from what Compile left in a folder.
func TestAnotherRelease(t *testing.T) {
	again := func(dir string, s Spec) (Result, error) {
		pieces, err := LoadPieces(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.Pieces = pieces
		return Assemble(t.Context(), s)
	}
	p := handmade(t, "arm64")
	out := t.TempDir()
	s := spec(t, p, out)
	first := assemble(t, s)
	s.Version, s.Pieces = 43, Pieces{}
	second, err := again(p.Dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if second.Manifest.Version != 43 || second.Digest == first.Digest || second.DiskID == first.DiskID {
		t.Errorf("the second release is %+v", second)
	}
	if second.Manifest.Artifacts["rootfs"] != first.Manifest.Artifacts["rootfs"] {
		t.Error("the rootfs changed with the version")
	}
	s.Key, _, s.Roots = testKeys(t, 10)
	third, err := again(p.Dir, s)
	if err != nil {
		t.Fatal(err)
	}
	if third.Manifest.Artifacts["rootfs"] == first.Manifest.Artifacts["rootfs"] {
		t.Error("the rootfs does not hold the new root")
	}
}

func TestRefusals(t *testing.T) {
	p := handmade(t, "x86_64")
	_, rootKey, _ := testKeys(t, 9) // of the specs here
	_, _, otherRoot := testKeys(t, 11)
	for name, change := range map[string]func(*Spec){
		"a stranger's root":  func(s *Spec) { s.Roots = otherRoot },
		"no root":            func(s *Spec) { s.Roots = chain.Chain{} },
		"no key":             func(s *Spec) { s.Key = nil },
		"version 0":          func(s *Spec) { s.Version = 0 },
		"no such channel":    func(s *Spec) { s.Channel = "mainline" },
		"unknown setting":    func(s *Spec) { s.Conf = []string{"phase.mod=local"} },
		"two lines":          func(s *Spec) { s.Conf = []string{"phase.mode=local\nphase.update=off"} },
		"too many settings":  func(s *Spec) { s.Conf = []string{"# " + strings.Repeat("x", disk.ConfBytes)} },
		"nowhere to":         func(s *Spec) { s.Disk = "/proc/disk.img" },
		"root key as signer": func(s *Spec) { s.Key = rootKey },
	} {
		s := spec(t, p, t.TempDir())
		change(&s)
		if _, err := Assemble(context.Background(), s); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}
