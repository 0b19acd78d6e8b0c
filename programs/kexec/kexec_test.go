package kexec

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

var at = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func key(b byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)) }

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// folder makes a folder of releases, one version a channel, and a root for it.
func folder(t *testing.T, versions map[string]uint64, signer ed25519.PrivateKey) (root, dir string) {
	t.Helper()
	dir = t.TempDir()
	root = filepath.Join(dir, "root.json")
	public := func(k ed25519.PrivateKey) trust.RoleSpec {
		return trust.RoleSpec{Keys: []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}, Threshold: 1}
	}
	data := must[[]byte](t)(trust.SignRoot(trust.RootSpec{Version: 1, Expires: at.AddDate(1, 0, 0),
		Roles: map[string]trust.RoleSpec{trust.RoleRoot: public(key(1)), trust.RoleRelease: public(key(2))}}, key(1)))
	write(t, root, data)
	for channel, version := range versions {
		m := manifest.Manifest{Version: version, Name: "test", Channel: channel, Arch: names.RunningArch(), Created: at, Expires: at.AddDate(0, 6, 0),
			Cmdline: "panic=10", Artifacts: map[string]manifest.Artifact{}}
		place := filepath.Join(dir, channel, m.Arch)
		for _, name := range manifest.Required {
			content := []byte("the " + name + " of " + channel)
			m.Artifacts[name] = manifest.Artifact{Size: int64(len(content)), SHA256: names.Sum(content)}
			write(t, filepath.Join(place, layout.FileName(name)), content)
		}
		write(t, filepath.Join(place, layout.ManifestFile), must[[]byte](t)(trust.SignRelease(m, signer)))
	}
	return root, dir
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := Run(t.Context(), args, nil, &out, &errs)
	return out.String(), err
}

func TestDryRun(t *testing.T) {
	root, dir := folder(t, map[string]uint64{"stable": 42, "testing": 44}, key(2))
	state := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "would load version 44 (test, testing, "},
		{[]string{"--release", "42"}, "would load version 42 (test, stable, "},
		{[]string{"--json"}, `"loaded": false`},
	} {
		out, err := run(t, append(c.args, "--root", root, "--store", dir, "--state", state, "--dry-run")...)
		if err != nil || !strings.Contains(out, c.want) || !strings.Contains(out, "panic=10") {
			t.Errorf("%v: %q, %v", c.args, out, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	root, dir := folder(t, map[string]uint64{"stable": 42}, key(2))
	_, forged := folder(t, map[string]uint64{"stable": 99}, key(3))
	_, changed := folder(t, map[string]uint64{"stable": 42}, key(2))
	_, short := folder(t, map[string]uint64{"stable": 42}, key(2))
	rootfs := filepath.Join("stable", names.RunningArch(), "rootfs.squashfs")
	write(t, filepath.Join(changed, rootfs), []byte("the rootfs of nobody??"[:len("the rootfs of stable")]))
	write(t, filepath.Join(short, rootfs), []byte("the"))
	for _, c := range []struct {
		name  string
		args  []string
		code  refusal.Code
		words string
	}{
		{"no such version", []string{"--store", dir, "--release", "7", "--dry-run"}, "", "no version 7"},
		{"empty folder", []string{"--store", t.TempDir(), "--dry-run"}, "", "fetch one"},
		{"signed by a stranger", []string{"--store", forged, "--dry-run"}, refusal.Signature, ""},
		{"other bytes", []string{"--store", changed, "--dry-run"}, refusal.Digest, "rootfs"},
		{"too few bytes", []string{"--store", short, "--dry-run"}, refusal.Size, "rootfs"},
		{"no node", []string{"--store", dir}, "", "--dry-run"},
	} {
		out, err := run(t, append(c.args, "--root", root, "--state", filepath.Join(t.TempDir(), "none"))...)
		if err == nil || refusal.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) || out != "" {
			t.Errorf("%s: %q, %v", c.name, out, err)
		}
	}
	if _, err := run(t, "--root", root, "--store", filepath.Join(dir, "none"), "--dry-run"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := run(t); err == nil {
		t.Error("without a folder")
	} else if code, _ := program.Code(err); code != 2 {
		t.Errorf("without a folder: exit code %d", code)
	}
}
