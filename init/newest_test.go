package main

import (
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/release/layout"
	"phase/tests/storetest"
)

// TestMayStart: a store is looked at closely only if it can have what should be
// started; a manifest that cannot be read is none.
func TestMayStart(t *testing.T) {
	signer := storetest.NewSigner(t)
	release := func(channel, arch string, version uint64) []byte {
		return signer.Release(t, channel, arch, version, storetest.Sizes).Envelope()
	}
	running := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes).Manifest()
	many := map[string][]byte{}
	for i := range maxManifests + 1 {
		many[string(rune('a'+i))+".json"] = nil
	}
	for name, c := range map[string]struct {
		files   map[string][]byte
		channel string
		want    bool
	}{
		"nothing":         {channel: "stable"},
		"what runs":       {map[string][]byte{"a.json": release("stable", "x86_64", 7)}, "stable", false},
		"older":           {map[string][]byte{"a.json": release("stable", "x86_64", 6)}, "stable", false},
		"newer":           {map[string][]byte{"a.json": release("stable", "x86_64", 6), "b.json": release("stable", "x86_64", 8)}, "stable", true},
		"another channel": {map[string][]byte{"a.json": release("testing", "x86_64", 8)}, "stable", false},
		"moved to it":     {map[string][]byte{"a.json": release("testing", "x86_64", 3)}, "testing", true},
		"another arch":    {map[string][]byte{"a.json": release("stable", "arm64", 8)}, "stable", false},
		"garbage":         {map[string][]byte{"a.json": []byte("{"), "b.json": nil}, "stable", false},
		"garbage beside":  {map[string][]byte{"a.json": []byte("{"), "b.json": release("stable", "x86_64", 8)}, "stable", true},
		"too many":        {many, "stable", true},
		"held":            {map[string][]byte{"../" + layout.PinFile: []byte("{")}, "stable", true},
	} {
		store := t.TempDir()
		if err := os.Mkdir(filepath.Join(store, layout.ReleaseFolder), 0o755); err != nil {
			t.Fatal(err)
		}
		for file, data := range c.files {
			if err := os.WriteFile(filepath.Join(store, layout.ReleaseFolder, file), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := mayStart(store, running, c.channel); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	store := t.TempDir()
	if mayStart(store, running, "stable") {
		t.Error("a store that is not there")
	}
	if err := os.WriteFile(filepath.Join(store, layout.ReleaseFolder), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !mayStart(store, running, "stable") {
		t.Error("a store that cannot be read is not looked at closely")
	}
}
