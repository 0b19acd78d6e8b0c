package plasmd

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/program"
	"phase/tests/storetest"
)

// /health and /status tell how the folder is, and go on to tell when it has
// been mended.
func TestServeFolderThatIsDamaged(t *testing.T) {
	dir := t.TempDir()
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	signer.Write(t, dir, r)
	c, stop := run(t, "serve", "-a", dir, "-p", "0", "-b", "127.0.0.1", "--no-mdns")
	url := "http://" + c.wait(t, serving)
	c.wait(t, `^holds release `)
	until := func(code int, says string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			got, health := get(t, url+"/health")
			_, status := get(t, url+"/status")
			if got == code && bytes.Contains(health, []byte(says)) && bytes.Contains(status, []byte(`"problems": []`)) == (code == 200) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("/health stays at %d %s, want %d with %q; /status says %s", got, health, code, says, status)
			}
		}
	}
	until(200, "healthy")
	kernel := filepath.Join(dir, "stable", "x86_64", "vmlinuz")
	if err := os.Remove(kernel); err != nil {
		t.Fatal(err)
	}
	until(503, "opening its kernel")
	if code, data := get(t, url+"/stable/x86_64/kernel"); code != 200 || !bytes.Equal(data, r.Bytes["kernel"]) {
		t.Errorf("what is open still is answered %d", code)
	}
	signer.Write(t, dir, r)
	until(200, "healthy")
	if err := os.WriteFile(kernel, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	until(503, "kernel has 14")
	if code, _ := get(t, url+"/stable/x86_64/kernel"); code != 404 {
		t.Errorf("a changed kernel is answered %d", code)
	}
	signer.Write(t, dir, r)
	until(200, "healthy")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// An address that is taken is named, with what to do.
func TestServePortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	signer := storetest.NewSigner(t)
	signer.Write(t, dir, signer.Release(t, "stable", "x86_64", 7, storetest.Sizes))
	_, port, _ := net.SplitHostPort(l.Addr().String())
	err = Run(t.Context(), []string{"serve", "-a", dir, "-p", port, "-b", "127.0.0.1", "--no-mdns"}, nil, io.Discard, io.Discard)
	if code, _ := program.Code(err); code != 1 || !strings.Contains(err.Error(), "choose another port") {
		t.Errorf("it ended with %v", err)
	}
}
