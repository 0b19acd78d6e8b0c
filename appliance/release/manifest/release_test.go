package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
)

func manifest() Manifest {
	return Manifest{
		Version: 42, Name: "2026.5.1", Channel: "stable", Arch: "x86_64",
		Created: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), Expires: time.Date(2026, 10, 28, 0, 0, 0, 500, time.UTC),
		Cmdline: "loglevel=6",
		Artifacts: map[string]Artifact{
			"kernel": {16500000, names.Sum([]byte("k"))}, "initramfs": {1200000, names.Sum([]byte("i"))},
			"rootfs": {18000000, names.Sum([]byte("r"))}, "sbom.json": {0, names.Sum(nil)},
		},
	}
}

func TestPayload(t *testing.T) {
	m := manifest()
	payload, err := m.Payload()
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Payload()
	if err != nil || string(again) != string(payload) {
		t.Error("one manifest, two payloads")
	}
	got, err := Parse(payload)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read back %+v, %v", got, err)
	}
	// The same instant in another zone is the same manifest.
	m.Created = m.Created.In(time.FixedZone("", 3600))
	if zoned, err := m.Payload(); err != nil || string(zoned) != string(payload) {
		t.Errorf("in another zone: %s, %v", zoned, err)
	}
}

// TestPayloadRefuses holds what is written to the bounds of what is read; the
// reader's own table is tests/vectors/manifest.
func TestPayloadRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Manifest){
		"version 0":     func(m *Manifest) { m.Version = 0 },
		"version 2^53":  func(m *Manifest) { m.Version = 1 << 53 },
		"name":          func(m *Manifest) { m.Name = "" },
		"control":       func(m *Manifest) { m.Name = "a\nb" },
		"channel":       func(m *Manifest) { m.Channel = "beta" },
		"arch":          func(m *Manifest) { m.Arch = "amd64" },
		"created":       func(m *Manifest) { m.Created = time.Time{} },
		"expires":       func(m *Manifest) { m.Expires = time.Time{} },
		"cmdline":       func(m *Manifest) { m.Cmdline = "init=/bin/sh" },
		"no kernel":     func(m *Manifest) { delete(m.Artifacts, "kernel") },
		"empty rootfs":  func(m *Manifest) { m.Artifacts["rootfs"] = Artifact{} },
		"size":          func(m *Manifest) { m.Artifacts["x"] = Artifact{Size: MaxArtifactSize + 1} },
		"negative size": func(m *Manifest) { m.Artifacts["x"] = Artifact{Size: -1} },
		"artifact name": func(m *Manifest) { m.Artifacts["a/b"] = Artifact{Size: 1} },
		"many": func(m *Manifest) {
			for i := range MaxArtifacts {
				m.Artifacts[fmt.Sprint(i)] = Artifact{Size: 1}
			}
		},
	} {
		m := manifest()
		edit(&m)
		if payload, err := m.Payload(); err == nil {
			t.Errorf("%s: written as %s", name, payload)
		}
	}
}

// FuzzParse states the law: what Parse accepts, Payload encodes to the same
// meaning, within every bound a reader relies on.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../../tests/vectors/manifest/*.json")
	if err != nil || len(files) < 80 {
		f.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if e, err := envelope.Parse(data); err == nil {
			f.Add(e.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		if m.Version < 1 || m.Version > MaxVersion || len(m.Artifacts) > MaxArtifacts || len(m.Cmdline) > settings.MaxNext {
			t.Fatalf("out of bounds: %+v", m)
		}
		for _, word := range strings.Fields(m.Cmdline) {
			for _, taken := range []string{"phase.", "init=", "rdinit=", "root="} {
				if strings.HasPrefix(strings.Trim(word, `"`), taken) {
					t.Fatalf("the command line holds %q", word)
				}
			}
		}
		files := map[string]bool{layout.ManifestFile: true}
		for name, a := range m.Artifacts {
			file := layout.FileName(name)
			if files[file] || !filepath.IsLocal(file) || filepath.Base(file) != file || a.Size < 0 || a.Size > MaxArtifactSize {
				t.Fatalf("artifact %q of %d bytes in file %q", name, a.Size, file)
			}
			files[file] = true
			if back, ok := layout.ArtifactName(file); !ok || back != name {
				t.Fatalf("artifact %q is in file %q, which is of %q", name, file, back)
			}
		}
		payload, err := m.Payload()
		if err != nil {
			t.Fatalf("read, but cannot be written: %v", err)
		}
		again, err := Parse(payload)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}
