package attacks

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/release/layout"
	"phase/tests/hostile"
)

// fetched is what fetch --json prints.
type fetched struct {
	OK        bool   `json:"ok"`
	Code      string `json:"code"`
	Reason    string `json:"reason"`
	Version   uint64 `json:"version"`
	Bytes     int64  `json:"bytes"`
	Resumed   int64  `json:"resumed"`
	Providers []struct {
		URL, Code, Reason string
		Bytes             int64
	} `json:"providers"`
}

// fetches brings the newest release into a folder.
func (p *project) fetches(t testing.TB, root, dir string, urls ...string) (fetched, ended) {
	t.Helper()
	e := call(t, p.fetchArgs(root, dir, urls...)...)
	var f fetched
	if e.code >= 0 {
		e.decode(t, &f)
	}
	return f, e
}

func (p *project) fetchArgs(root, dir string, urls ...string) []string {
	args := []string{"fetch", "--json", "--root", root, "--channel", "stable", "--arch", p.made.Running.Arch, "--output", dir}
	for _, url := range urls {
		args = append(args, "--provider", url)
	}
	return args
}

// lay lays the running release out in a folder of the test's own.
func (p *project) lay(t testing.TB) (root, dir string) {
	t.Helper()
	dir = t.TempDir()
	p.Write(t, dir, p.running)
	return filepath.Join(dir, layout.Root(1)), dir
}

// still says whether a folder holds a release byte for byte, and nothing that is
// half of another.
func still(dir string, r hostile.Release) error {
	at := filepath.Join(dir, layout.Release(r.Manifest.Channel, r.Manifest.Arch))
	files := map[string][]byte{layout.ManifestFile: r.Envelope}
	for name, data := range r.Artifacts {
		files[layout.FileName(name)] = data
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(at, name))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s in the folder is not the signed one", name)
		}
	}
	return nil
}

func fetchRows(t *testing.T, m *matrix) {
	p := newProject(t)
	var rows []row
	for _, h := range hostile.All(t, p.made) {
		rows = append(rows, row{h.Class, h.Name, h.Did + ", alone", func(t *testing.T) (string, bool) {
			root, dir := p.lay(t)
			f, e := p.fetches(t, root, dir, serve(t, loopback(t), h.Serve))
			if err := still(dir, open(p.running)); err != nil {
				return err.Error(), false
			}
			return fmt.Sprintf("%s (%s) [exit %d]", strings.TrimSuffix(f.Reason, " ("+f.Code+")"), f.Code, e.code), e.code == 1 && !f.OK && oneOf(f.Code, h.Codes)
		}})
	}
	m.try(t, "fetch", append(rows,
		row{7, "mixed", "two providers of two signed releases of one version: the bytes come from one of them alone", p.mixed},
		row{1, "redirect", "sends the node to an honest provider, whom nobody named", func(t *testing.T) (string, bool) {
			root, dir := p.lay(t)
			honest := serve(t, loopback(t), p.made.Next.Honest(nil))
			f, e := p.fetches(t, root, dir, serve(t, loopback(t), hostile.HTTP(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, honest+r.URL.Path, http.StatusFound)
			})))
			return fmt.Sprintf("%s [exit %d]", f.Reason, e.code), !f.OK && f.Code == "unreachable" && still(dir, open(p.running)) == nil
		}},
		row{8, "a-byte-over", "a signed manifest padded to a byte more than 1 MiB", p.padded},
		row{12, "killed", "killed in the middle of a download: what was there stays, and the next run goes on from there", p.killed},
		row{12, "disk-full", "a disk that is full: what was there stays", p.full},
		row{13, "path", "providers whose addresses leave the paths of releases", p.paths},
	)...)
}

// mixed has two providers of different releases of one version; each serves what
// it has and nothing else.
func (p *project) mixed(t *testing.T) (string, bool) {
	other := p.Release(t, "stable", p.made.Running.Arch, nextVersion, map[string]int{"kernel": 70_002, "initramfs": 3_002, "rootfs": 300_008})
	dir := t.TempDir()
	f, e := p.fetches(t, write(t, "root.json", p.Root.Raw()), dir,
		serve(t, loopback(t), p.made.Next.Honest(nil)), serve(t, loopback(t), open(other).Honest(nil)))
	one := still(dir, p.made.Next) == nil || still(dir, open(other)) == nil
	return e.said(), f.OK && one && strings.Contains(e.stderr, "two releases of one version")
}

// padded is a good manifest but for its size.
func (p *project) padded(t *testing.T) (string, bool) {
	const most = 1 << 20
	envelope := append(bytes.Repeat([]byte(" "), most+1-len(p.made.Next.Envelope)), p.made.Next.Envelope...)
	large := p.made.Next
	large.Envelope = envelope
	root, dir := p.lay(t)
	f, e := p.fetches(t, root, dir, serve(t, loopback(t), large.Honest(nil)))
	return fmt.Sprintf("%s [exit %d]", f.Reason, e.code), !f.OK && f.Code == "size" && still(dir, open(p.running)) == nil
}

// killed kills a download when half of the rootfs was sent.
func (p *project) killed(t *testing.T) (string, bool) {
	root, dir := p.lay(t)
	sent, rest := make(chan struct{}), make(chan struct{})
	honest := p.made.Next
	half := hostile.Offer(honest.Envelope, func(w http.ResponseWriter, r *http.Request) {
		body := honest.Artifacts["rootfs"]
		if !strings.HasSuffix(r.URL.Path, honest.Manifest.Artifacts["rootfs"].SHA256.Hex()) {
			http.NotFound(w, r) // the kernel and the initramfs come later
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush()
		select {
		case sent <- struct{}{}:
		case <-r.Context().Done():
		}
		<-rest
	})
	command := exec.Command(phase(t), append(p.fetchArgs(root, dir, serve(t, loopback(t), half)), "--artifact", "rootfs")...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	<-sent
	command.Process.Kill()
	_ = command.Wait() // it was killed
	close(rest)
	if manifest, err := os.ReadFile(filepath.Join(dir, layout.Manifest("stable", p.made.Running.Arch))); err == nil && !bytes.Equal(manifest, p.running.Envelope()) {
		return "a manifest of what is not whole was there", false
	}
	f, e := p.fetches(t, root, dir, serve(t, loopback(t), honest.Honest(nil)))
	return fmt.Sprintf("version %d, %d bytes received, %d resumed [exit %d]", f.Version, f.Bytes, f.Resumed, e.code), f.OK && still(dir, honest) == nil
}

// full has the kernel go to a file that takes nothing.
func (p *project) full(t *testing.T) (string, bool) {
	root, dir := p.lay(t)
	part := filepath.Join(dir, layout.Release("stable", p.made.Running.Arch), layout.FileName("kernel")+layout.PartSuffix)
	if err := os.Symlink("/dev/full", part); err != nil {
		t.Fatal(err)
	}
	f, e := p.fetches(t, root, dir, serve(t, loopback(t), p.made.Next.Honest(nil)))
	return fmt.Sprintf("%s (%s) [exit %d]", f.Reason, f.Code, e.code), !f.OK && f.Code == "busy" && still(dir, open(p.running)) == nil
}

// paths names providers by addresses that are none.
func (p *project) paths(t *testing.T) (said string, held bool) {
	root, dir := p.lay(t)
	asked := make(chan string, 16)
	l := loopback(t)
	url := serve(t, l, hostile.HTTP(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		http.NotFound(w, r)
	}))
	host := l.Addr().(*net.TCPAddr).String()
	for _, bad := range []string{"file:///etc/passwd", "http://user@" + host, "http://" + host + "/?x=1", "ftp://" + host} {
		if e := call(t, p.fetchArgs(root, dir, bad)...); e.code != 2 {
			return bad + ": " + e.said(), false
		} else {
			said = e.said()
		}
	}
	if e := call(t, p.fetchArgs(root, dir, url+"/a/../../b")...); e.code != 1 {
		return e.said(), false
	}
	close(asked)
	for path := range asked {
		if strings.Contains(path, "..") {
			return "it asked for " + path, false
		}
	}
	return said, true
}
