package kexec

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/machine/linux"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"

	"github.com/u-root/u-root/pkg/cpio"
)

// loader is a Loader that keeps what it was given to load.
type loader struct {
	loads          int
	fail           error
	kernel, initrd []byte
	cmdline        string
}

func (l *loader) Load(kernel, initrd linux.Part, cmdline string) error {
	l.kernel, _ = io.ReadAll(io.NewSectionReader(kernel.File, kernel.At, kernel.Size))
	l.initrd, _ = io.ReadAll(io.NewSectionReader(initrd.File, initrd.At, initrd.Size))
	l.cmdline = cmdline
	l.loads++
	return l.fail
}

func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

func contents() map[string][]byte {
	return map[string][]byte{"kernel": noise(1, 100_001), "initramfs": noise(2, 5003), "rootfs": noise(3, 70_000), "sbom": []byte("{}")}
}

// sign makes a verified release of these artifacts.
func sign(t *testing.T, artifacts map[string][]byte, change func(*manifest.Manifest)) trust.Verified {
	t.Helper()
	key := func(b byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)) }
	public := func(k ed25519.PrivateKey) []ed25519.PublicKey {
		return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rootData, err := trust.SignRoot(trust.RootSpec{Version: 1, Expires: at.AddDate(1, 0, 0), Roles: map[string]trust.RoleSpec{
		trust.RoleRoot: {Keys: public(key(1)), Threshold: 1}, trust.RoleRelease: {Keys: public(key(2)), Threshold: 1},
	}}, key(1))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(rootData)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{Version: 43, Name: "test", Channel: "stable", Arch: names.RunningArch(), Created: at, Expires: at.AddDate(0, 6, 0),
		Cmdline: "panic=10", Artifacts: map[string]manifest.Artifact{}}
	for name, data := range artifacts {
		m.Artifacts[name] = manifest.Artifact{Size: int64(len(data)), SHA256: names.Sum(data)}
	}
	if change != nil {
		change(&m)
	}
	envelope, err := trust.SignRelease(m, key(2))
	if err != nil {
		t.Fatal(err)
	}
	v, err := root.VerifyHeld(envelope, trust.Any, trust.Any)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// machine is one with plenty of memory; what it is asked for is in asked.
func machine(k Loader, asked *[]string) Options {
	note := func(what string) func(context.Context) error {
		return func(context.Context) error { *asked = append(*asked, what); return nil }
	}
	return Options{
		Kernel: k, Running: "console=ttyS0 root=/dev/vda2 phase.mode=local", Conf: []string{"phase.update=off"},
		Memory:   func() (linux.Memory, error) { return linux.Memory{Total: 4 << 30, Available: 2 << 30}, nil },
		Freeable: func(context.Context) int64 { return 0 },
		Pause:    note("pause"), Resume: note("resume"),
	}
}

// fill writes artifacts in pieces and out of order, as a download does.
func fill(t *testing.T, s *Staging, artifacts map[string][]byte) {
	t.Helper()
	for _, name := range s.Names() {
		data := artifacts[name]
		r, err := s.Region(name, int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		half := len(data) / 2
		for _, at := range []int{half, 0} {
			end := len(data)
			if at == 0 {
				end = half
			}
			if _, err := r.WriteAt(data[at:end], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLoadCarriesExactlyWhatWasSigned(t *testing.T) {
	for _, onDisk := range []bool{false, true} {
		artifacts := contents()
		v := sign(t, artifacts, nil)
		k := &loader{}
		var asked []string
		o := machine(k, &asked)
		if onDisk {
			o.Dir = filepath.Join(t.TempDir(), "staging")
			need := NeedOf(guess(names.RunningArch(), 100_001, 300_000))
			o.Memory = func() (linux.Memory, error) {
				return linux.Memory{Total: 4 << 30, Available: (need.Load + need.Stage) / 2}, nil
			}
		}
		s, err := Stage(t.Context(), v, o)
		if err != nil {
			t.Fatal(err)
		}
		if where := s.Where(); (where == "on disk") != onDisk {
			t.Errorf("staged %s", where)
		}
		fill(t, s, artifacts)
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(k.kernel, artifacts["kernel"]) {
			t.Errorf("a kernel of %d bytes was loaded", len(k.kernel))
		}
		if !bytes.HasPrefix(k.initrd, artifacts["initramfs"]) {
			t.Error("the initrd does not begin with the signed initramfs")
		}
		entries, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(k.initrd[5004:])))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]byte{"release/manifest.json": v.Envelope(), "release/vmlinuz": artifacts["kernel"],
			"release/initramfs.img": artifacts["initramfs"], "release/rootfs.squashfs": artifacts["rootfs"], "release/sbom": artifacts["sbom"]}
		for _, e := range entries {
			if data, ok := want[e.Name]; ok {
				if got, err := io.ReadAll(io.NewSectionReader(e, 0, int64(e.FileSize))); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s was changed on the way", e.Name)
				}
				delete(want, e.Name)
			}
		}
		if len(want) != 0 {
			t.Errorf("not carried: %v", want)
		}
		if c := "panic=10 console=ttyS0 phase.mode=local phase.update=off phase.disk=/dev/vda2 phase.trial=" + v.Digest().String(); k.cmdline != c {
			t.Errorf("command line %q, want %q", k.cmdline, c)
		}
		if err := s.Load(t.Context()); err == nil {
			t.Error("it was loaded twice")
		}
		if left, _ := os.ReadDir(o.Dir); onDisk && len(left) != 0 {
			t.Errorf("left on disk: %v", left)
		}
	}
}

// One wrong byte in any artifact, wherever it came from, and nothing is loaded.
func TestWrongByteIsNotLoaded(t *testing.T) {
	for _, name := range []string{"kernel", "initramfs", "rootfs", "sbom"} {
		artifacts := contents()
		v := sign(t, artifacts, nil)
		artifacts[name][len(artifacts[name])-1] ^= 1
		k := &loader{}
		var asked []string
		s, err := Stage(t.Context(), v, machine(k, &asked))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, artifacts)
		if err := s.Load(t.Context()); refusal.CodeOf(err) != refusal.Digest || k.loads != 0 {
			t.Errorf("%s: %v, loaded %d times", name, err, k.loads)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNotReady(t *testing.T) {
	artifacts := contents()
	for _, c := range []struct {
		name   string
		change func(*manifest.Manifest)
		option func(*Options)
		code   refusal.Code
		words  string
	}{
		{"other arch", func(m *manifest.Manifest) { m.Arch = map[string]string{"x86_64": "arm64", "arm64": "x86_64"}[m.Arch] }, nil, refusal.Arch, "this machine is"},
		{"command line too long", func(m *manifest.Manifest) { m.Cmdline = strings.Repeat("x", 2000) }, nil, refusal.Format, "2047"},
		{"too little memory", nil, func(o *Options) {
			o.Memory = func() (linux.Memory, error) { return linux.Memory{Total: 1 << 30, Available: 20 << 20}, nil }
		}, refusal.Busy, "of free memory and this machine has 20.0 MiB"},
		{"too small a machine", nil, func(o *Options) {
			o.Memory = func() (linux.Memory, error) { return linux.Memory{Total: 60 << 20, Available: 2 << 30}, nil }
		}, refusal.Busy, "to come up in and this one has 60.0 MiB"},
	} {
		var asked []string
		o := machine(&loader{}, &asked)
		if c.option != nil {
			c.option(&o)
		}
		err := Ready(t.Context(), sign(t, artifacts, c.change), o)
		if refusal.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	var asked []string
	if err := Ready(t.Context(), trust.Verified{}, machine(&loader{}, &asked)); err == nil {
		t.Error("a release that nobody verified is ready")
	}
}

func TestCheckStage(t *testing.T) {
	sizes := Sizes{Kernel: 60 * mib, Unpacked: 50 * mib, Initrd: 30 * mib}
	need := NeedOf(sizes)
	for _, c := range []struct {
		name            string
		available, free int64
		disk            int64
		onDisk, refused bool
	}{
		{"plenty", need.Stage + comfort, 0, 1 << 40, false, false},
		{"enough, and a disk", need.Stage + comfort - 1, 0, 1 << 40, true, false},
		{"enough, and no disk", need.Stage, 0, 0, false, false},
		{"enough once services are paused", need.Stage - 10*mib, 10 * mib, 0, false, false},
		{"too little, and no disk", need.Stage - 1, 0, 0, false, true},
		{"a large disk", need.Load, 0, 96 * mib, true, false},
		{"too little for a large disk", need.Load - 1, 0, 96 * mib, true, true},
		{"a disk for the initrd alone", need.Disk, 0, 38 * mib, true, false},
		{"too little for that", need.Disk - 1, 0, 38 * mib, true, true},
		{"a disk that is too small", need.Stage - 1, 0, 37 * mib, false, true},
	} {
		onDisk, err := CheckStage(1, sizes, linux.Memory{Total: 1 << 40, Available: c.available}, c.free, c.disk)
		if onDisk != c.onDisk || (refusal.CodeOf(err) == refusal.Busy) != c.refused || (err != nil) != c.refused {
			t.Errorf("%s: on disk %v, %v", c.name, onDisk, err)
		}
	}
}

// What an interrupted download left on disk is found again, by the same
// release only.
func TestResumeOnDisk(t *testing.T) {
	artifacts := contents()
	v := sign(t, artifacts, nil)
	other := sign(t, artifacts, func(m *manifest.Manifest) { m.Version++ })
	var asked []string
	o := machine(&loader{}, &asked)
	o.Dir = filepath.Join(t.TempDir(), "staging")
	need := NeedOf(guess(names.RunningArch(), 100_001, 300_000))
	o.Memory = func() (linux.Memory, error) { return linux.Memory{Total: 4 << 30, Available: need.Load + mib}, nil }
	have := func(v trust.Verified) int64 {
		s, err := Stage(t.Context(), v, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, err := s.Region("rootfs", 70_000)
		if err != nil {
			t.Fatal(err)
		}
		n := r.Have()
		if n > 0 {
			got := make([]byte, n)
			if _, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, artifacts["rootfs"][:n]) {
				t.Errorf("other bytes than were written: %v", err)
			}
		}
		if _, err := r.WriteAt(artifacts["rootfs"][:50_000], 0); err != nil {
			t.Fatal(err)
		}
		if err := r.(interface{ Keep(int64) error }).Keep(50_000); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, c := range []struct {
		v    trust.Verified
		want int64
	}{{v, 0}, {v, 50_000}, {other, 0}, {v, 0}} {
		if got := have(c.v); got != c.want {
			t.Errorf("stage %d: %d bytes are there, want %d", i, got, c.want)
		}
	}
}

func TestRegionHoldsItsOwnOnly(t *testing.T) {
	artifacts := contents()
	var asked []string
	s, err := Stage(t.Context(), sign(t, artifacts, nil), machine(&loader{}, &asked))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Region("sbom", 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{-1, 1, 2, 1 << 40} {
		if _, err := r.WriteAt([]byte("xx"), at); err == nil {
			t.Errorf("wrote 2 bytes at %d of 2", at)
		}
	}
	if _, err := r.ReadAt(make([]byte, 3), 0); err != io.EOF {
		t.Errorf("read beyond the end: %v", err)
	}
	for name, size := range map[string]int64{"sbom": 3, "none": 1, "manifest.json": 10, "../seed": 64} {
		if _, err := s.Region(name, size); err == nil {
			t.Errorf("there is a place for %s of %d bytes", name, size)
		}
	}
}

func TestParseAnon(t *testing.T) {
	for text, want := range map[string]int64{"VmRSS:\t10 kB\nRssAnon:\t    1234 kB\n": 1234 << 10, "": 0, "RssAnon: -5 kB": 0, "RssAnon: x kB": 0} {
		if got := parseAnon(text); got != want {
			t.Errorf("%q is %d bytes, want %d", text, got, want)
		}
	}
}
