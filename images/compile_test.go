package images

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"phase/kernel"
)

// Compiling is gok, the Go compiler and the kernel's module, for real: what is
// compiled twice, in two folders, is the same, and names neither. In unlike
// conditions it is compiled by tests/reproduce.
func TestCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the whole system twice")
	}
	need(t, "git", "mcopy", "mkfs.ext4", "mksquashfs", "unsquashfs")
	var pieces [2]Pieces
	for i := range pieces {
		var err error
		pieces[i], err = Compile(context.Background(), Source{Checkout: "..", Arch: "x86_64", Name: "a name", Time: day, Dir: filepath.Join(t.TempDir(), "pieces")})
		if err != nil {
			t.Fatal(err)
		}
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pieceImage, pieceInitramfs, pieceLoader, pieceEFI, piecePerm, pieceAbout, "rootfs/gokrazy/init", "rootfs/user/phase", "rootfs/user/phase-worker"} {
		data := read(t, pieces[0].path(name))
		if !bytes.Equal(data, read(t, pieces[1].path(name))) {
			t.Errorf("%s differs between two folders", name)
		}
		for _, trace := range []string{checkout + "/", pieces[0].Dir, filepath.Join(home, "go")} {
			if bytes.Contains(data, []byte(trace)) {
				t.Errorf("%s names %s", name, trace)
			}
		}
	}
	if host := read(t, pieces[0].path("rootfs/etc/hostname")); string(host) != "phase" {
		t.Errorf("the host name is %q", host)
	}
	if runtime.GOARCH == pieces[0].Kernel.GOARCH {
		if out := runTool(t, pieces[0].path("rootfs/user/phase"), "--version"); out != "phase a-name\n" {
			t.Errorf("the version is %q", out)
		}
	}
	// What they were made from is noted, of the real tools and the real kernel.
	if o := read(t, pieces[0].path(pieceOrigin)); !bytes.Contains(o, []byte(`"linux":"`)) || !bytes.Contains(o, []byte(`{"name":"mksquashfs","version":"`)) {
		t.Errorf("made from %s", o)
	}
	// The loader's last eight bytes are the two addresses that are filled in.
	if mbr := read(t, pieces[0].path(pieceLoader)); mbr[0] != 0xFA || len(mbr) != 440 {
		t.Errorf("%d bytes that begin with %x are no boot loader", len(mbr), mbr[0])
	}
}

func TestConfigDependsOnArchAndName(t *testing.T) {
	for _, arch := range []string{"x86_64", "arm64"} {
		k, err := kernel.For(arch)
		if err != nil {
			t.Fatal(err)
		}
		config, err := instanceConfig(Source{Checkout: "..", Name: "2026.11.23"}, k, "'-X=a.B=c'")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"GOARCH=" + k.GOARCH, k.Module, "-X=phase/appliance/base/program.Version=2026.11.23' '-X=a.B=c'", `"NoPassword": true`, `"GokrazyPackages": []`} {
			if !bytes.Contains(config, []byte(want)) {
				t.Errorf("%s: no %q in %s", arch, want, config)
			}
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.json"), []byte(`{"PackageConfig": {"phase/init": {"GoBuildFlags": ["-trimpath"]}}}`))
	if _, err := instanceConfig(Source{Checkout: dir}, kernel.Kernel{}, ""); err == nil {
		t.Error("a package whose binary would name the build was not refused")
	}
}

func TestUnpinnedModulesAreRefused(t *testing.T) {
	const pinned = "module phase\n\nrequire example.org/a v1.0.0\n"
	for name, c := range map[string]struct {
		after string
		ok    bool
	}{
		"as it was":       {pinned, true},
		"another comment": {"module phase\n\nrequire example.org/a v1.0.0 // indirect\n", true},
		"newer":           {"module phase\n\nrequire example.org/a v1.0.1\n", false},
		"one more":        {pinned + "require example.org/b v1.0.0\n", false},
		"replaced":        {pinned + "replace example.org/a => example.org/b v1.0.0\n", false},
	} {
		p, checkout := Pieces{Dir: t.TempDir()}, t.TempDir()
		write(t, filepath.Join(checkout, "go.mod"), []byte(pinned))
		write(t, p.path("gok", "go.mod"), []byte(c.after))
		if err := p.checkPins(context.Background(), Source{Checkout: checkout}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What gok leaves can be added to, and deleted, by who is not root.
func TestOpenFolders(t *testing.T) {
	tree := t.TempDir()
	inner := filepath.Join(tree, "user", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	folders := []string{inner, filepath.Dir(inner), tree}
	for _, folder := range folders {
		if err := os.Chmod(folder, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if err := openFolders(tree); err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", folder, info.Mode(), err)
		}
	}
}
