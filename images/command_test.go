package images

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/release/trust"
)

func TestTheCommandLine(t *testing.T) {
	p, out := handmade(t, "x86_64"), t.TempDir()
	keys := filepath.Join(out, "keys")
	said, log, code := runImages("build", "--make-keys", "--keys", keys, "--from", p.Dir, "--out", out, "--no-qcow2", "--set", "phase.mode=local",
		"--release-version", "7", "--name", "seven", "--created", "2026-11-23T12:00:00Z", "--checkout", "..", "--json")
	if code != 0 {
		t.Fatalf("build: exit code %d: %s", code, log)
	}
	var built struct {
		Version uint64
		Disk    string
	}
	if err := json.Unmarshal([]byte(said), &built); err != nil || built.Version != 7 {
		t.Fatalf("build said %s: %v", said, err)
	}
	var report Report
	said, log, code = runImages("inspect", "--json", "--root", filepath.Join(keys, "root.json"), built.Disk)
	if err := json.Unmarshal([]byte(said), &report); err != nil || code != 0 || report.Name != "seven" || len(report.Settings) != 1 {
		t.Errorf("inspect: exit code %d, %v: %s%s", code, err, said, log)
	}
	if said, log, code = runImages("sizes", "--out", out, "--keys", keys); code != 0 || !strings.Contains(said, "netboot payload") {
		t.Errorf("sizes: exit code %d: %s%s", code, said, log)
	}
	other := filepath.Join(t.TempDir(), "release")
	if _, log, code = runImages("sign", "--keys", keys, "--from", filepath.Join(out, "release"), "-o", other, "--channel", "testing", "--release-version", "8"); code != 0 {
		t.Fatalf("sign: exit code %d: %s", code, log)
	}
	root, err := trust.ParseRoot(read(t, filepath.Join(other, "root", "1.json")))
	if err != nil {
		t.Fatal(err)
	}
	v, err := root.VerifyHeld(read(t, filepath.Join(other, "testing/x86_64/manifest.json")), "testing", "x86_64")
	if err != nil || v.Manifest().Version != 8 || v.Manifest().Name != "seven" {
		t.Errorf("signed %+v, %v", v.Manifest(), err)
	}
	// Created when it was, it cannot have expired before.
	args := []string{"sign", "--keys", keys, "--from", filepath.Join(out, "release"), "-o", other, "--expires", "2026-11-23T12:00:00Z"}
	if _, log, code = runImages(args...); code != 2 || !strings.Contains(log, "--expires") {
		t.Errorf("sign: exit code %d: %s", code, log)
	}
	// What lies there and is not what was signed is not signed again.
	rootfs := filepath.Join(out, "release/stable/x86_64/rootfs.squashfs")
	data := read(t, rootfs)
	if err := os.Remove(rootfs); err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	write(t, rootfs, data)
	if _, log, code = runImages("sign", "--keys", keys, "--from", filepath.Join(out, "release"), "-o", other, "--release-version", "9"); code != 1 || !strings.Contains(log, "not what its manifest says") {
		t.Errorf("sign: exit code %d: %s", code, log)
	}
}

// Every command that answers does so for programs too.
func TestAnswersInJSON(t *testing.T) {
	p, out := handmade(t, "x86_64"), t.TempDir()
	keys, image, target := filepath.Join(out, "keys"), filepath.Join(out, "phase-x86_64.img"), stick(t, 200<<20)
	for _, c := range []struct {
		args []string
		has  string
	}{
		{[]string{"key", keys}, `"made": true`},
		{[]string{"key", keys}, `"made": false`},
		{[]string{"build", "--keys", keys, "--from", p.Dir, "--out", out, "--no-qcow2", "--release-version", "7", "--name", "seven",
			"--created", "2026-11-23T12:00:00Z", "--checkout", ".."}, `"version": 7`},
		{[]string{"sign", "-k", keys, "--from", filepath.Join(out, "release"), "-o", filepath.Join(out, "other"), "-c", "nightly"}, `"channel": "nightly"`},
		{[]string{"sizes", "-k", keys, "-o", out}, `"what": "netboot payload"`},
		{[]string{"inspect", image}, `"verified": null`},
		{[]string{"flash", "-f", image, target}, `"target": "` + target + `"`},
	} {
		said, log, code := runImages(append(c.args, "--json")...)
		if code != 0 || !json.Valid([]byte(said)) || !strings.Contains(said, c.has) {
			t.Errorf("%v: exit code %d: %s%s", c.args, code, said, log)
		}
	}
}
