package provide

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/problem"
	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

type fixture struct {
	signer *storetest.Signer
	r      storetest.Release
	store  *store.Store
	url    string
}

func start(t testing.TB, sizes map[string]int) fixture {
	t.Helper()
	f := fixture{signer: storetest.NewSigner(t), store: store.New()}
	f.r = f.signer.Release(t, "stable", "x86_64", 7, sizes)
	f.store.AddRoot(f.signer.Root)
	if err := f.store.Add(t.Context(), f.r.Verified, f.r.Sources()); err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	v1 := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "v1 "+r.Method) })
	s := httptest.NewServer(Handler(Config{
		Store: f.store, Channel: "stable", Arch: "x86_64", V1: v1,
		Pages: map[string]http.Handler{"/": page, "/health": page},
	}))
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

type answer struct {
	*http.Response
	body []byte
}

func (f fixture) ask(t testing.TB, method, path string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, f.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = path // as it is, not cleaned or encoded again
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp, body}
}

func TestRoutes(t *testing.T) {
	f := start(t, storetest.Sizes)
	kernel, rootfs := f.r.Bytes["kernel"], f.r.Bytes["rootfs"]
	f.store.Describe(f.r.Digest(), map[string][]byte{"provenance.json": []byte("{}")})
	for _, c := range []struct {
		path  string
		body  []byte
		cache string
	}{
		{"/manifest.json", f.r.Envelope(), "no-cache"},
		{"/stable/x86_64/manifest.json", f.r.Envelope(), "no-cache"},
		{"/stable/amd64/manifest.json", f.r.Envelope(), "no-cache"},
		{"/stable/x86_64/kernel", kernel, "no-cache"},
		{"/stable/x86_64/vmlinuz", kernel, "no-cache"},
		{"/stable/x86_64/rootfs", rootfs, "no-cache"},
		{"/stable/x86_64/rootfs.squashfs", rootfs, "no-cache"},
		{"/stable/x86_64/initramfs.img", f.r.Bytes["initramfs"], "no-cache"},
		{"/%73table/x86_64/kernel", kernel, "no-cache"},
		{"/stable/x86_64/kernel?x=1", kernel, "no-cache"},
		{"/blobs/sha256/" + names.Sum(kernel).Hex(), kernel, "public, max-age=31536000, immutable"},
		{"/stable/x86_64/provenance.json", []byte("{}"), "no-cache"},
		{"/root/1.json", f.signer.Root.Raw(), "no-cache"},
	} {
		get := f.ask(t, "GET", c.path)
		digest := names.Sum(c.body)
		if get.StatusCode != 200 || !bytes.Equal(get.body, c.body) {
			t.Errorf("GET %s: %d with %d bytes", c.path, get.StatusCode, len(get.body))
			continue
		}
		for name, want := range map[string]string{
			"ETag":            `"` + digest.String() + `"`,
			"X-Artifact-Hash": digest.String(),
			"Repr-Digest":     "sha-256=:" + base64.StdEncoding.EncodeToString(digest[:]) + ":",
			"Accept-Ranges":   "bytes",
			"Content-Length":  strconv.Itoa(len(c.body)),
			"Cache-Control":   c.cache,
		} {
			if got := get.Header.Get(name); got != want {
				t.Errorf("GET %s: %s is %q, want %q", c.path, name, got, want)
			}
		}
		head := f.ask(t, "HEAD", c.path)
		get.Header.Del("Date")
		head.Header.Del("Date")
		if head.StatusCode != 200 || len(head.body) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", c.path, head.StatusCode, len(head.body))
		}
		for name := range get.Header {
			if head.Header.Get(name) != get.Header.Get(name) {
				t.Errorf("HEAD %s: %s is %q, with GET %q", c.path, name, head.Header.Get(name), get.Header.Get(name))
			}
		}
	}
	if got := f.ask(t, "DELETE", "/v1/jobs"); string(got.body) != "v1 DELETE" {
		t.Errorf("/v1 answered %q", got.body)
	}
	if got := f.ask(t, "GET", "/"); string(got.body) != "page" {
		t.Errorf("/ answered %q", got.body)
	}
}

func checkProblem(t *testing.T, what string, a answer, status int) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("Content-Type") != problem.ContentType {
		t.Errorf("%s: %d of type %q, want the problem %d", what, a.StatusCode, a.Header.Get("Content-Type"), status)
		return
	}
	for _, name := range []string{"ETag", "Repr-Digest", "X-Artifact-Hash"} {
		if a.Header.Get(name) != "" {
			t.Errorf("%s: the problem carries %s", what, name)
		}
	}
	if a.Request.Method == "HEAD" {
		return
	}
	var doc struct {
		Title  string
		Status int
	}
	if err := json.Unmarshal(a.body, &doc); err != nil || doc.Status != status || doc.Title == "" {
		t.Errorf("%s: problem %s, %v", what, a.body, err)
	}
}

func TestNotFound(t *testing.T) {
	f := start(t, storetest.Sizes)
	hex := names.Sum(f.r.Bytes["kernel"]).Hex()
	for _, path := range []string{
		"/nothing", "/stable", "/stable/", "/stable/x86_64", "/stable/x86_64/", "/stable/x86_64/kernel/",
		"/stable/arm64/kernel", "/testing/x86_64/manifest.json", "/stable/sparc/kernel", "/STABLE/x86_64/kernel",
		"/stable/x86_64/dtb", "/stable/x86_64/manifest.json.part", "/stable/x86_64//kernel", "//manifest.json",
		"/./manifest.json", "/stable/../manifest.json",
		"/..%2F..%2Fetc%2Fpasswd", "/stable/x86_64/..%2F..%2F..%2Fetc%2Fpasswd", "/stable/x86_64/%2e%2e",
		"/stable/x86_64/%2Fetc%2Fpasswd", "/stable/x86_64/..%5C..%5Cboot.ini", "/stable/x86_64/kernel%00",
		"/stable/x86_64%2Fkernel", "/../../../../etc/passwd",
		"/blobs/sha256/" + strings.Repeat("0", 64), "/blobs/sha256/" + hex[:63], "/blobs/sha256/" + hex + "0",
		"/blobs/sha256/" + strings.ToUpper(hex), "/blobs/sha256/", "/blobs/md5/" + hex, "/blobs/sha256/sha256:" + hex,
		"/blobs/x86_64/manifest.json", "/root/2.json", "/root/01.json", "/root/1", "/root/+1.json", "/root/-1.json",
		"/root/99999999999999999999.json", "/root/x86_64/manifest.json", "/update/boot", "/favicon.ico",
	} {
		checkProblem(t, "GET "+path, f.ask(t, "GET", path), 404)
		checkProblem(t, "HEAD "+path, f.ask(t, "HEAD", path), 404)
	}
	checkProblem(t, "POST /nothing", f.ask(t, "POST", "/nothing"), 404)
}

func TestMethodNotAllowed(t *testing.T) {
	f := start(t, storetest.Sizes)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		for _, path := range []string{"/", "/health", "/manifest.json", "/stable/x86_64/kernel", "/root/1.json"} {
			a := f.ask(t, method, path)
			checkProblem(t, method+" "+path, a, 405)
			if a.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: Allow is %q", method, path, a.Header.Get("Allow"))
			}
		}
	}
}

// An artifact changed in place is not there any more, and an answer under way
// breaks off rather than go on with bytes of something else.
func TestChangedWhileServed(t *testing.T) {
	f := start(t, storetest.Sizes)
	dir := t.TempDir()
	next := f.signer.Release(t, "stable", "x86_64", 8, map[string]int{"kernel": 100, "initramfs": 100, "rootfs": 16 << 20})
	f.signer.Write(t, dir, next)
	at := filepath.Join(dir, "stable", "x86_64")
	sources := map[string]store.Source{}
	for _, name := range manifest.Required {
		sources[name] = store.File(filepath.Join(at, layout.FileName(name)))
	}
	if err := f.store.Add(t.Context(), next.Verified, sources); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(f.url + "/stable/x86_64/rootfs")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "rootfs.squashfs"), []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("the answer went on to its end, %d bytes", n+1)
	}
	checkProblem(t, "the changed rootfs", f.ask(t, "GET", "/stable/x86_64/rootfs"), 404)
	if a := f.ask(t, "GET", "/stable/x86_64/kernel"); a.StatusCode != 200 {
		t.Errorf("the kernel beside it is answered %d", a.StatusCode)
	}
}

func TestLoading(t *testing.T) {
	loading := true
	h := Handler(Config{Store: store.New(), Channel: "stable", Arch: "x86_64", Loading: func() bool { return loading }})
	for path, want := range map[string]int{
		"/manifest.json": 503, "/stable/x86_64/kernel": 503, "/blobs/sha256/" + strings.Repeat("0", 64): 503,
		"/nothing": 404, "/blobs/sha256/x": 404, "/stable/vax/kernel": 404,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want || (want == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("while loading, %s is answered %d, want %d", path, w.Code, want)
		}
	}
	loading = false
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/manifest.json", nil))
	if w.Code != 404 {
		t.Errorf("after loading nothing, the manifest is answered %d", w.Code)
	}
}

// Whatever the path, what comes back is a problem or bytes that are held, and
// nothing but the words of the format reaches a file.
func FuzzPath(f *testing.F) {
	x := start(f, map[string]int{"kernel": 10, "initramfs": 20, "rootfs": 30})
	known := map[string]bool{string(x.r.Envelope()): true, string(x.signer.Root.Raw()): true}
	for _, data := range x.r.Bytes {
		known[string(data)] = true
	}
	h := Handler(Config{Store: x.store, Channel: "stable", Arch: "x86_64"})
	for _, s := range []string{"/", "/manifest.json", "/stable/x86_64/kernel", "/blobs/sha256/00", "/root/1.json", "/../x", "/a/b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, &http.Request{Method: "GET", URL: &url.URL{Path: path}, Header: http.Header{}})
		switch {
		case w.Code == 200 && known[w.Body.String()]:
		case w.Code == 404 && w.Header().Get("Content-Type") == problem.ContentType:
		default:
			t.Errorf("%q is answered %d %q", path, w.Code, w.Body)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	f := start(b, map[string]int{"kernel": 16 << 20, "initramfs": 1, "rootfs": 1})
	dir := b.TempDir()
	f.signer.Write(b, dir, f.r)
	file := store.New()
	sources := map[string]store.Source{}
	for name := range f.r.Bytes {
		sources[name] = store.File(filepath.Join(dir, "stable", "x86_64", layout.FileName(name)))
	}
	if err := file.Add(b.Context(), f.r.Verified, sources); err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]*store.Store{"memory": f.store, "file": file} {
		srv := httptest.NewServer(Handler(Config{Store: s, Channel: "stable", Arch: "x86_64"}))
		for path, size := range map[string]int64{"/stable/x86_64/kernel": 16 << 20, "/manifest.json": int64(len(f.r.Envelope()))} {
			b.Run(name+path[strings.LastIndex(path, "/"):], func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					resp, err := http.Get(srv.URL + path)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size {
						b.Fatal(n, err)
					}
					resp.Body.Close()
				}
			})
		}
		srv.Close()
	}
}
