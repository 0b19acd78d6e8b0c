package plasmd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/tests/storetest"
)

// held lays out a release as a boot disk has it and says so in boot.json.
func held(t *testing.T, signer *storetest.Signer, r storetest.Release, mode string) (args []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	signer.Write(t, dir, r)
	m := r.Manifest()
	at := filepath.Join(dir, m.Channel, m.Arch)
	boot := statefile.Boot{Mode: mode, BootedFrom: statefile.FromStub, Held: &statefile.Held{Manifest: filepath.Join(at, "manifest.json"), Artifacts: map[string]string{}}}
	for name := range r.Bytes {
		boot.Held.Artifacts[name] = filepath.Join(at, layout.FileName(name))
	}
	if err := statefile.Write(dir, statefile.BootFile, boot); err != nil {
		t.Fatal(err)
	}
	return []string{"start", "--http", "127.0.0.1:0", "--state", dir, "--root", filepath.Join(dir, "root", "1.json"), "--socket", filepath.Join(dir, "plasmd.sock"), "--data", filepath.Join(dir, "data")}, at
}

func TestStart(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	args, _ := held(t, signer, r, "internet")
	c, stop := run(t, args...)
	url := "http://" + c.wait(t, serving)
	c.wait(t, `^holds release stable/arm64 version 7 sha256:[0-9a-f]{64}$`)
	peer, token := c.wait(t, `^peer (12D3KooW\w+)$`), c.wait(t, `^token ([0-9a-f]{64})$`)
	if code, data := get(t, url+"/stable/arm64/kernel"); code != 200 || !bytes.Equal(data, r.Bytes["kernel"]) {
		t.Errorf("the kernel is answered %d", code)
	}
	if code, _ := get(t, url+"/v1/jobs"); code != 401 {
		t.Errorf("/v1/jobs without the token is answered %d", code)
	}
	if code, _ := get(t, url+"/health"); code != 200 {
		t.Errorf("/health is answered %d", code)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	again, stop := run(t, args...)
	if p, k := again.wait(t, `^peer (.*)$`), again.wait(t, `^token (.*)$`); p != peer || k != token {
		t.Error("identity and token did not survive a restart")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// A node whose own release cannot be served says so and is a node still.
func TestStartDamaged(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	args, at := held(t, signer, r, "internet")
	if err := os.WriteFile(filepath.Join(at, "vmlinuz"), make([]byte, len(r.Bytes["kernel"])), 0o644); err != nil {
		t.Fatal(err)
	}
	data := args[len(args)-1]
	if err := errors.Join(os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "identity.pem"), []byte("torn"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, stop := run(t, args...)
	url := "http://" + c.wait(t, serving)
	c.wait(t, `^problem: reading the identity: .*damaged`)
	c.wait(t, `^problem: .*\(digest\)$`)
	if code, body := get(t, url+"/health"); code != 503 || !strings.Contains(string(body), "digest") {
		t.Errorf("/health is answered %d %s", code, body)
	}
	if code, _ := get(t, url+"/stable/arm64/manifest.json"); code != 404 {
		t.Errorf("the manifest of a damaged release is answered %d", code)
	}
	if code, body := get(t, url+"/status"); code != 200 || !strings.Contains(string(body), "identity") {
		t.Errorf("/status is answered %d %s", code, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Beside a person, a damaged identity is refused and stays: a client that pinned it
// is not to meet another.
func TestStartWithoutItsIdentity(t *testing.T) {
	dir := t.TempDir()
	data, path := filepath.Join(dir, "data"), filepath.Join(dir, "data", "identity.pem")
	args := []string{"start", "--network", "off", "--state", dir, "--data", data, "--socket", filepath.Join(dir, "plasmd.sock")}
	c, stop := run(t, args...)
	peer := c.wait(t, `^peer (.*)$`)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text, says string
		mode       os.FileMode
	}{
		"torn":               {string(good[:60]), "damaged", 0o600},
		"empty":              {"", "damaged", 0o600},
		"readable by others": {string(good), "chmod 600", 0o644},
	} {
		if err := errors.Join(os.WriteFile(path, []byte(c.text), c.mode), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, stop := run(t, args...)
		err := stop()
		if code, _ := program.Code(err); code != 1 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
			t.Errorf("%s: it holds %q now, %v", name, text, err)
		}
	}
	if err := errors.Join(os.WriteFile(path, good, 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	again, stop := run(t, args...)
	if p := again.wait(t, `^peer (.*)$`); p != peer {
		t.Errorf("put back, it is %s and was %s", p, peer)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A private node keeps no identity, whatever its folder has, and is not to be
// reached from elsewhere.
func TestStartPrivate(t *testing.T) {
	signer := storetest.NewSigner(t)
	args, _ := held(t, signer, signer.Release(t, "stable", "arm64", 7, storetest.Sizes), "private")
	args[2] = "[::]:0"
	peers := map[string]bool{}
	for range 2 {
		c, stop := run(t, args...)
		c.wait(t, serving)
		peers[c.wait(t, `^peer (.*)$`)] = true
		c.wait(t, `^holds release`)
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	if len(peers) != 2 {
		t.Error("a private node was the same twice")
	}
	if _, err := os.Stat(args[len(args)-1]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a private node wrote to its folder: %v", err)
	}
}
