package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// provider serves a release and counts the bytes it sends.
func serve(t *testing.T, signer *storetest.Signer, r storetest.Release) (url string, requests *atomic.Int64) {
	t.Helper()
	s := store.New()
	s.AddRoot(signer.Root)
	if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
		t.Fatal(err)
	}
	h := provide.Handler(provide.Config{Store: s, Channel: r.Manifest().Channel, Arch: r.Manifest().Arch})
	requests = &atomic.Int64{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}

func writeRoot(t *testing.T, signer *storetest.Signer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(path, signer.Root.Raw(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func fetched(t *testing.T, args ...string) (answer, error) {
	t.Helper()
	var out bytes.Buffer
	err := Run(t.Context(), append(args, "--json"), nil, &out, io.Discard)
	var a answer
	if e := json.Unmarshal(out.Bytes(), &a); e != nil {
		t.Fatalf("it printed %q: %v, and ended with %v", out.Bytes(), e, err)
	}
	if a.OK != (err == nil) {
		t.Errorf("ok is %v, the error %v", a.OK, err)
	}
	return a, err
}

func checkFolder(t *testing.T, dir string, signer *storetest.Signer, r storetest.Release) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	s := store.New()
	if problems := store.NewFolder(s, root, signer.Root).Scan(t.Context(), names.Channels, names.Arches); len(problems) > 0 {
		t.Errorf("the folder cannot be served: %v", problems)
	}
	m := r.Manifest()
	if held, ok := s.Newest(m.Channel, m.Arch); !ok || held.Digest() != r.Digest() {
		t.Error("the folder does not hold the release")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*.part")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "root", "1.json")); err != nil || !bytes.Equal(data, signer.Root.Raw()) {
		t.Errorf("the root is not beside it: %v", err)
	}
}

func TestFetch(t *testing.T) {
	signer := storetest.NewSigner(t)
	old := signer.Release(t, "stable", "arm64", 6, storetest.Sizes)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	stranger := storetest.NewSigner(t)
	forgedURL, _ := serve(t, stranger, stranger.Release(t, "stable", "arm64", 99, storetest.Sizes))
	oldURL, _ := serve(t, signer, old)
	url, requests := serve(t, signer, r)
	root, dir := writeRoot(t, signer), t.TempDir()
	args := []string{"--root", root, "-A", "aarch64", "-o", dir, "-p", forgedURL, "-p", oldURL, "--provider", url, "--provider", "http://127.0.0.1:1"}

	a, err := fetched(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	checkFolder(t, dir, signer, r)
	if a.Version != 7 || a.Digest != r.Digest().String() || a.Bytes != 373009 || len(a.Files) != 4 {
		t.Errorf("it printed %+v", a)
	}
	codes := map[string]string{}
	for _, p := range a.Providers {
		codes[p.URL] = string(p.Code)
	}
	if codes[forgedURL] != "signature" || codes["http://127.0.0.1:1"] != "unreachable" || codes[url] != "" {
		t.Errorf("providers %+v", a.Providers)
	}

	// Once more: what is there is not fetched again.
	before := requests.Load()
	if a, err = fetched(t, args...); err != nil || a.Bytes != 0 || requests.Load() != before+2 { // the root that follows, the manifest
		t.Errorf("again: %+v, %v, %d requests", a, err, requests.Load()-before)
	}
	// Damage is repaired, and no more than that.
	if err := os.WriteFile(filepath.Join(dir, "stable", "arm64", "vmlinuz"), make([]byte, 70_001), 0o644); err != nil {
		t.Fatal(err)
	}
	if a, err = fetched(t, args...); err != nil || a.Bytes != 70_001 {
		t.Errorf("after damage: %+v, %v", a, err)
	}
	checkFolder(t, dir, signer, r)
	// An interrupted run is resumed.
	at := filepath.Join(dir, "stable", "arm64", "rootfs.squashfs")
	if err := os.WriteFile(at+".part", r.Bytes["rootfs"][:100_000], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if a, err = fetched(t, args...); err != nil || a.Resumed != 100_000 || a.Bytes != 200_007 {
		t.Errorf("resumed: %+v, %v", a, err)
	}
	checkFolder(t, dir, signer, r)
}

// A run that was killed can leave a file with holes; they are not taken for
// bytes that are there.
func TestFetchHoles(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, map[string]int{"kernel": 10, "initramfs": 10, "rootfs": 4 << 20})
	url, _ := serve(t, signer, r)
	root, dir := writeRoot(t, signer), t.TempDir()
	at := filepath.Join(dir, "stable", "arm64")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(at, "rootfs.squashfs.part"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, span := range [][2]int{{0, 1 << 20}, {3 << 20, 4 << 20}} {
		if _, err := f.WriteAt(r.Bytes["rootfs"][span[0]:span[1]], int64(span[0])); err != nil {
			t.Fatal(err)
		}
	}
	a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", url)
	if err != nil {
		t.Fatal(err)
	}
	checkFolder(t, dir, signer, r)
	if a.Resumed == 0 {
		t.Log("this file system does not tell holes: everything was fetched again")
	} else if a.Resumed > 1<<20 {
		t.Errorf("%d bytes were resumed", a.Resumed)
	}
}

func TestFetchRefuses(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	url, _ := serve(t, signer, r)
	root := writeRoot(t, signer)
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if filepath.Base(req.URL.Path) == "manifest.json" {
			_, _ = w.Write(r.Envelope())
			return
		}
		w.Header().Set("Content-Length", "300007")
		_, _ = w.Write(make([]byte, 300_007))
	}))
	defer liar.Close()
	for _, c := range []struct {
		name string
		args []string
		code string
	}{
		{"below the floor", []string{"-A", "arm64", "-p", url, "--floor", "8"}, "rollback"},
		{"another arch", []string{"-A", "x86_64", "-p", url}, "unreachable"},
		{"another channel", []string{"-A", "arm64", "-c", "testing", "-p", url}, "unreachable"},
		{"other bytes", []string{"-A", "arm64", "-p", liar.URL, "-a", "rootfs"}, "digest"},
		{"other sizes", []string{"-A", "arm64", "-p", liar.URL, "-a", "kernel"}, "size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			a, err := fetched(t, append([]string{"--root", root, "-o", dir}, c.args...)...)
			if err == nil || string(a.Code) != c.code {
				t.Errorf("it ended with %v, code %q, want %q", err, a.Code, c.code)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*", "*", "manifest.json")); len(left) > 0 {
				t.Error("there is a manifest")
			}
		})
	}
	if _, err := fetched(t, "--root", root, "-A", "arm64", "-p", url, "--floor", "7", "-o", t.TempDir()); err != nil {
		t.Errorf("at the floor: %v", err)
	}
	for _, args := range [][]string{{"-c", "x"}, {"-A", "x"}, {"-p", "x"}, {"-a", "../x"}, {"--nothing"}} {
		if code, _ := program.Code(Run(t.Context(), args, nil, io.Discard, io.Discard)); code != 2 {
			t.Errorf("%v ends with %d", args, code)
		}
	}
	if code, _ := program.Code(Run(t.Context(), []string{"--root", "/nonexistent", "-p", url}, nil, io.Discard, io.Discard)); code != 1 {
		t.Errorf("without a root it ends with %d", code)
	}
}

// What a folder holds is a floor for what is brought into it.
func TestFetchDoesNotGoBack(t *testing.T) {
	signer := storetest.NewSigner(t)
	held := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	dir, root := t.TempDir(), writeRoot(t, signer)
	signer.Write(t, dir, held)
	twin := signer.Release(t, "stable", "arm64", 7, map[string]int{"kernel": 1, "initramfs": 2, "rootfs": 3})
	for code, r := range map[string]storetest.Release{
		"rollback": signer.Release(t, "stable", "arm64", 6, storetest.Sizes), "equivocation": twin,
	} {
		url, _ := serve(t, signer, r)
		a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", url)
		if string(a.Code) != code || !strings.Contains(err.Error(), "choose another folder") {
			t.Errorf("it ended with %v, want %s", err, code)
		}
		checkFolder(t, dir, signer, held)
	}
	newer := signer.Release(t, "stable", "arm64", 8, storetest.Sizes)
	url, _ := serve(t, signer, newer)
	if _, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", url); err != nil {
		t.Error(err)
	}
	checkFolder(t, dir, signer, newer)
}

// Two runs in one folder: the second is told, and takes nothing away.
func TestFetchTwice(t *testing.T) {
	signer := storetest.NewSigner(t)
	r := signer.Release(t, "stable", "arm64", 7, storetest.Sizes)
	dir, root := t.TempDir(), writeRoot(t, signer)
	url, _ := serve(t, signer, r)
	args := []string{"--root", root, "-A", "arm64", "-o", dir, "-p", url}
	other, err := staging.Open(dir, r.Verified)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := fetched(t, args...); string(a.Code) != "busy" {
		t.Errorf("beside another it ended with %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fetched(t, args...); err != nil {
		t.Error(err)
	}
	checkFolder(t, dir, signer, r)
}

// A folder whose own root would refuse the release is not filled with it.
func TestFetchBesideAnotherRoot(t *testing.T) {
	signer, other := storetest.NewSigner(t), storetest.NewSigner(t)
	dir := t.TempDir()
	other.Write(t, dir, other.Release(t, "testing", "arm64", 1, storetest.Sizes))
	url, requests := serve(t, signer, signer.Release(t, "stable", "arm64", 7, storetest.Sizes))
	_, err := fetched(t, "--root", writeRoot(t, signer), "-A", "arm64", "-o", dir, "-p", url)
	if err == nil || !strings.Contains(err.Error(), "another root") || requests.Load() != 0 {
		t.Errorf("it ended with %v after %d requests", err, requests.Load())
	}
}

// The end names what is wrong with what is offered, not who is away.
func TestFetchEndsWithTheTellingRefusal(t *testing.T) {
	signer, stranger := storetest.NewSigner(t), storetest.NewSigner(t)
	url, _ := serve(t, stranger, stranger.Release(t, "stable", "arm64", 9, storetest.Sizes))
	a, err := fetched(t, "--root", writeRoot(t, signer), "-A", "arm64", "-o", t.TempDir(), "-p", "http://127.0.0.1:1", "-p", url)
	if a.Code != refusal.Signature || len(a.Providers) != 2 {
		t.Errorf("it ended with %v and %+v", err, a.Providers)
	}
}

// A disk that is full has a word for machines too.
func TestFetchOntoAFullDisk(t *testing.T) {
	signer := storetest.NewSigner(t)
	url, _ := serve(t, signer, signer.Release(t, "stable", "arm64", 7, storetest.Sizes))
	dir := t.TempDir()
	at := filepath.Join(dir, "stable", "arm64")
	if err := errors.Join(os.MkdirAll(at, 0o755), os.Symlink("/dev/full", filepath.Join(at, "vmlinuz.part"))); err != nil {
		t.Fatal(err)
	}
	a, err := fetched(t, "--root", writeRoot(t, signer), "-A", "arm64", "-o", dir, "-p", url)
	if a.Code != refusal.Busy || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("it ended with %v, code %q", err, a.Code)
	}
	if _, err := os.Stat(filepath.Join(at, "manifest.json")); err == nil {
		t.Error("there is a manifest")
	}
}
