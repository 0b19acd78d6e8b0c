package stick

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/diskimage"
	"phase/appliance/release/layout"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// node is a folder that is the rootfs of a node, and the release it runs.
func node(t *testing.T, arch string) (rootfs string, r storetest.Release) {
	t.Helper()
	rootfs = t.TempDir()
	for file, data := range map[string][]byte{
		diskimage.PermFile: append([]byte("perm"), make([]byte, 1<<20)...), diskimage.EFIFile: bytes.Repeat([]byte("efi"), 9000),
		diskimage.LoaderFile: bytes.Repeat([]byte{0xFA}, gpt.LoaderSize),
	} {
		at := filepath.Join(rootfs, file)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kernel := bytes.Repeat([]byte("a kernel "), 200_000)
	if arch == "arm64" {
		kernel = packed(t, kernel)
	}
	return rootfs, storetest.NewSigner(t).ReleaseOf(t, "stable", arch, 1, map[string][]byte{
		"kernel": kernel, "initramfs": []byte("an initramfs"), "rootfs": bytes.Repeat([]byte("a rootfs "), 100_000),
	})
}

func packed(t *testing.T, data []byte) []byte {
	var to bytes.Buffer
	z := gzip.NewWriter(&to)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func serve(t *testing.T, o *Offer) string {
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

// TestImage: what is sent is a disk with what the release and its rootfs hold, and
// a download that broke off goes on.
func TestImage(t *testing.T) {
	for _, arch := range names.Arches {
		rootfs, release := node(t, arch)
		held := store.New()
		if err := held.Add(t.Context(), release.Verified, release.Sources()); err != nil {
			t.Fatal(err)
		}
		url := serve(t, New(held, release.Digest().String(), rootfs))
		r, all := get(t, url)
		if r.StatusCode != http.StatusOK || r.ContentLength != int64(len(all)) || r.Header.Get("Content-Disposition") != `attachment; filename="phase-`+arch+`.img"` || r.Header.Get("Repr-Digest") != "" {
			t.Fatalf("%s: %s, %d bytes of %d, %v", arch, r.Status, len(all), r.ContentLength, r.Header)
		}
		image, err := flash.OpenImage(bytes.NewReader(all))
		if err != nil {
			t.Fatal(err)
		}
		digest := release.Digest()
		if image.Table.ID != gpt.NewID(digest[:]) {
			t.Errorf("%s: the disk is %s", arch, image.Table.ID)
		}
		want := map[string][]byte{layout.FileName("kernel"): release.Bytes["kernel"], layout.FileName("initramfs"): release.Bytes["initramfs"],
			diskimage.EFIPath[arch]: bytes.Repeat([]byte("efi"), 9000), layout.ManifestFile: release.Envelope()}
		if arch == "arm64" {
			want[diskimage.Image] = bytes.Repeat([]byte("a kernel "), 200_000)
		}
		for name, data := range want {
			f, err := image.File(name)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %s is another one: %v", arch, name, err)
			}
		}
		for number, data := range map[int][]byte{disk.Root: release.Bytes["rootfs"], disk.Perm: []byte("perm")} {
			p, err := image.Table.Partition(number)
			if err != nil || !bytes.HasPrefix(all[p.Start:p.End()], data) {
				t.Errorf("%s: partition %d is another one: %v", arch, number, err)
			}
		}
		if r, body := get(t, url, "Range", "bytes=1500000-1500001,0-1"); r.StatusCode != http.StatusOK || len(body) != len(all) {
			t.Errorf("%s: a list of ranges, which would have the kernel unpacked for each: %s, %d bytes", arch, r.Status, len(body))
		}
		for _, part := range []string{"bytes=0-99", "bytes=1500000-", "bytes=-70000"} {
			r, some := get(t, url, "Range", part, "If-Range", r.Header.Get("ETag"))
			var first, last, size int
			if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &size); err != nil || size != len(all) || !bytes.Equal(some, all[first:last+1]) {
				t.Errorf("%s: %s: %s, %v: other bytes", arch, part, r.Status, r.Header)
			}
		}
	}
}

// TestNone: what cannot be sent is said, and nothing is made up.
func TestNone(t *testing.T) {
	rootfs, release := node(t, "x86_64")
	held := store.New()
	o := New(held, release.Digest().String(), rootfs)
	url := serve(t, o)
	if r, body := get(t, url); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("a release that is not held: %s: %s", r.Status, body)
	}
	if err := held.Add(t.Context(), release.Verified, release.Sources()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(rootfs, diskimage.LoaderFile), 7); err != nil {
		t.Fatal(err)
	}
	if r, body := get(t, url); r.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), "boot loader for BIOS has 7 bytes") {
		t.Errorf("a damaged loader: %s: %s", r.Status, body)
	}
	if err := os.Remove(filepath.Join(rootfs, diskimage.EFIFile)); err != nil {
		t.Fatal(err)
	}
	if r, body := get(t, url); r.StatusCode != http.StatusInternalServerError || !strings.Contains(string(body), "boot.efi") {
		t.Errorf("no loader: %s: %s", r.Status, body)
	}
	for o.loads.Enter("127.0.0.1") {
	}
	if r, body := get(t, url); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "too often") {
		t.Errorf("a crowd: %s: %s", r.Status, body)
	}
}
