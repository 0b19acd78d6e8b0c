package verify

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/release/manifest"
	"phase/appliance/release/trust"
)

const now = "2026-06-01T12:00:00Z"

// folder holds a root, a manifest, and the files it speaks of.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key := func(name string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(name))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	role := func(key ed25519.PrivateKey) trust.RoleSpec {
		return trust.RoleSpec{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}, Threshold: 1}
	}
	root, err := trust.SignRoot(trust.RootSpec{Version: 1, Expires: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
		Roles: map[string]trust.RoleSpec{"root": role(key("root")), "release": role(key("release"))}}, key("root"))
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{Version: 42, Name: "n", Channel: "stable", Arch: "arm64", Created: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 10, 28, 0, 0, 0, 0, time.UTC), Artifacts: map[string]manifest.Artifact{}}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range manifest.Required {
		data := []byte("bytes of " + name)
		m.Artifacts[name] = manifest.Artifact{Size: int64(len(data)), SHA256: names.Sum(data)}
		write(name, data)
	}
	good, err := trust.SignRelease(m, key("release"))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := trust.SignRelease(m, key("stranger"))
	if err != nil {
		t.Fatal(err)
	}
	write("root.json", root)
	write("good.json", good)
	write("forged.json", forged)
	write("damaged", []byte("bytes of kernEl"))
	write("longer", []byte("bytes of kernel and more"))
	write("shorter", []byte("bytes of"))
	return dir
}

func run(t *testing.T, stdin, line string) (stdout, stderr string, code int) {
	t.Helper()
	var out, diag bytes.Buffer
	err := Run(context.Background(), strings.Fields(line), strings.NewReader(stdin), &out, &diag)
	code, print := program.Code(err)
	if print {
		diag.WriteString(err.Error())
	}
	return out.String(), diag.String(), code
}

func TestRun(t *testing.T) {
	dir := folder(t)
	root := "--root " + dir + "/root.json --now " + now + " "
	good := root + dir + "/good.json"
	for _, c := range []struct {
		line string
		code int
		says string // on stdout; a usage error or an unreadable input: on stderr
	}{
		{good, 0, "ok expires: until 2026-10-28"},
		{good + " --channel stable --arch arm64 --floor 42", 0, "ok arch: arm64"},
		{good + " --arch aarch64", 0, "ok arch: arm64"},
		{good + " --arch x86_64", 1, "FAIL arch: the manifest is for arm64, asked for was x86_64 (arch)"},
		{good + " -c testing", 1, "FAIL channel: "},
		{good + " --floor 43", 1, "FAIL floor: version 42 is below the floor 43 (rollback)"},
		{"--root " + dir + "/root.json --now 2026-10-28T00:00:00Z " + dir + "/good.json", 1, "FAIL expires: "},
		{"--root " + dir + "/root.json --now 2040-01-01T00:00:00Z " + dir + "/good.json", 1, "FAIL root: "},
		{root + dir + "/forged.json", 1, "FAIL signature: "},
		{root + dir + "/kernel", 1, "FAIL envelope: "},
		{good + " --artifact kernel=" + dir + "/kernel --artifact rootfs=" + dir + "/rootfs", 0, "ok artifact rootfs: 15 bytes, sha256:"},
		{good + " --artifact vmlinuz=" + dir + "/kernel", 0, "ok artifact kernel: 15 bytes, sha256:"},
		{good + " --artifact kernel=" + dir + "/rootfs", 1, "FAIL artifact kernel: "},
		{good + " --artifact kernel=" + dir + "/damaged", 1, "(digest)"},
		{good + " --artifact kernel=" + dir + "/longer", 1, "(size)"},
		{good + " --artifact kernel=" + dir + "/shorter", 1, "(size)"},
		{good + " --artifact kernel=" + dir + "/nowhere", 1, "(unreachable)"},
		{good + " --artifact dtb=" + dir + "/kernel", 1, "(digest)"},
		{"--root " + dir + "/good.json " + dir + "/good.json", 1, "FAIL root: "},
		{"--help", 0, "--artifact"},
		{"--root " + dir + "/nowhere " + dir + "/good.json", 1, "name another with --root"},
		{root + dir + "/nowhere.json", 1, "reading the manifest"},
		{root, 2, "manifest"},
		{good + " --arch mips", 2, "--arch"},
		{good + " --channel beta", 2, "--channel"},
		{good + " --now yesterday", 2, "--now"},
		{good + " --floor -1", 2, "floor"},
		{good + " --artifact kernel", 2, "NAME=FILE"},
		{good + " --artifact =x", 2, "NAME=FILE"},
		{good + " --hurry", 2, "hurry"},
	} {
		stdout, stderr, code := run(t, "", c.line)
		answered := c.code != 2 && !strings.Contains(c.line, "nowhere ") && !strings.HasSuffix(c.line, "nowhere.json")
		text := stdout
		if !answered {
			text = stderr
		}
		if code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("verify %s: exit %d, want %d and %q\n%s%s", c.line, code, c.code, c.says, stdout, stderr)
		}
		if answered == (stderr != "") {
			t.Errorf("verify %s: the answer belongs on stdout, all else on stderr: %q", c.line, stderr)
		}
	}
}

func TestJSON(t *testing.T) {
	dir := folder(t)
	good, err := os.ReadFile(dir + "/good.json")
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		OK       *bool
		Checks   []struct{ Name, Code, Detail string }
		Manifest *struct{ Version uint64 }
	}
	for _, c := range []struct {
		line     string
		code     int
		manifest bool
		fails    string
	}{
		{"--artifact kernel=" + dir + "/kernel", 0, true, ""},
		{"--arch x86_64 --floor 50", 1, true, "arch rollback"},
		{"--artifact kernel=" + dir + "/damaged", 1, true, "digest"},
	} {
		stdout, stderr, code := run(t, string(good), "--json --root "+dir+"/root.json --now "+now+" "+c.line+" -")
		var a answer
		if err := json.Unmarshal([]byte(stdout), &a); err != nil {
			t.Fatalf("%s: %v\n%s%s", c.line, err, stdout, stderr)
		}
		var fails []string
		for _, check := range a.Checks {
			if check.Code != "" {
				fails = append(fails, check.Code)
			}
		}
		if code != c.code || a.OK == nil || *a.OK != (c.code == 0) || (a.Manifest != nil) != c.manifest || strings.Join(fails, " ") != c.fails {
			t.Errorf("%s: exit %d\n%s", c.line, code, stdout)
		}
		if c.manifest && a.Manifest != nil && a.Manifest.Version != 42 {
			t.Errorf("%s: the manifest is not the signed one: %s", c.line, stdout)
		}
	}
	// What nobody signed is not shown as a manifest.
	for _, file := range []string{"forged.json", "kernel"} {
		stdout, _, code := run(t, "", "-j --root "+dir+"/root.json "+dir+"/"+file)
		if code != 1 || !strings.Contains(stdout, `"manifest": null`) || !strings.Contains(stdout, `"ok": false`) {
			t.Errorf("%s: exit %d\n%s", file, code, stdout)
		}
	}
}

// TestEndlessInput: an input without end is refused for its size.
func TestEndlessInput(t *testing.T) {
	dir := folder(t)
	stdout, _, code := run(t, "", "--root "+dir+"/root.json /dev/zero")
	if code != 1 || !strings.Contains(stdout, "(size)") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	stdout, _, code = run(t, "", "--root "+dir+"/root.json --now "+now+" "+dir+"/good.json --artifact kernel=/dev/zero")
	if code != 1 || !strings.Contains(stdout, "(size)") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

func TestCancel(t *testing.T) {
	dir := folder(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	args := []string{"--root", dir + "/root.json", dir + "/good.json", "--artifact", "kernel=" + dir + "/kernel"}
	if err := Run(ctx, args, nil, &bytes.Buffer{}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ends with %v", err)
	}
}
