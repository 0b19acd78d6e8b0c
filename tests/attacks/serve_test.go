package attacks

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"phase/appliance/release/layout"
)

// secret is in a file that no request may lead to.
const secret = "not for others"

// serveRows ask a provider, plasmd serve, for what it must not give.
func serveRows(t *testing.T, m *matrix) {
	p := newProject(t)
	dir := t.TempDir()
	served := filepath.Join(dir, "served")
	p.Write(t, served, p.running)
	arch := p.made.Running.Arch
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(secret), 0o644); err != nil {
		t.Fatal(err)
	}
	address := provider(t, served)
	ask := func(paths ...string) func(*testing.T) (string, bool) {
		return func(t *testing.T) (said string, held bool) {
			for _, path := range paths {
				status, body := request(t, address, path)
				said = fmt.Sprintf("GET %s: %s", path, status)
				if !strings.HasPrefix(status, "40") || strings.Contains(body, secret) {
					return said, false
				}
			}
			return said, true
		}
	}
	m.try(t, "serve",
		row{0, "path", "paths that leave the folder, plain and encoded", ask(
			"/../secret", "/..%2f..%2Fsecret", "/..%2fsecret", "/stable/../../secret", "/stable/"+arch+"/..%2f..%2f..%2fsecret",
			"/stable/"+arch+"/../../../secret", "/blobs/sha256/..%2f..%2fsecret", "/root/..%2f..%2fsecret", "/stable%2f..%2f../secret")},
		row{0, "encoded-slash", "a slash that does not separate, in the path of a manifest", ask("/stable%2f"+arch+"%2fmanifest.json", "/stable/"+arch+"%2Fmanifest.json")},
		row{0, "routes", "routes that nobody needs", ask("/update", "/update/apply", "/v1/jobs", "/v1/logs", "/debug/pprof/", "/.git/config")},
		row{0, "link", "a link that leads out of the folder, in the place of an artifact", func(t *testing.T) (string, bool) {
			out := filepath.Join(t.TempDir(), "out")
			p.Write(t, out, p.running)
			at := filepath.Join(out, layout.Release("stable", arch), layout.FileName("kernel"))
			if err := os.Remove(at); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(served, layout.Release("stable", arch), layout.FileName("kernel")), at); err != nil {
				t.Fatal(err)
			}
			status, _ := request(t, provider(t, out), "/manifest.json")
			return status, !strings.HasPrefix(status, "200")
		}},
		row{8, "header", "a request whose header does not end", func(t *testing.T) (string, bool) {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\n")
			for sent := 0; err == nil && sent < 64<<20; sent += 1024 {
				_, err = fmt.Fprintf(c, "X: %s\r\n", strings.Repeat("x", 1020))
			}
			status, _ := request(t, address, "/manifest.json")
			return fmt.Sprintf("%v; others: %s", err, status), err != nil && strings.HasPrefix(status, "200")
		}},
	)
}

// provider starts plasmd serve on the loopback, and returns its address.
func provider(t *testing.T, dir string) string {
	t.Helper()
	command := exec.Command(phase(t), "plasmd", "serve", "--artifacts", dir, "--port", "0", "--bind", "127.0.0.1", "--no-mdns", "--no-dht")
	errors, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait() // it may have ended
	})
	lines := bufio.NewScanner(errors)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "serving http on "); ok {
			go func() {
				for lines.Scan() {
				}
			}()
			return address
		}
	}
	t.Fatal("the provider did not start")
	return ""
}

// request asks for a path, byte for byte as it is given. What is still being
// hashed is asked for again.
func request(t *testing.T, address, path string) (status, body string) {
	t.Helper()
	for {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, address); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusServiceUnavailable {
			continue
		}
		head := make([]byte, 4096)
		n, _ := resp.Body.Read(head) // an empty body is one too
		resp.Body.Close()
		return resp.Status, string(head[:n])
	}
}
