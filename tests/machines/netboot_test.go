package machines

import (
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"

	"phase/qemu"
	"phase/tests/lab"
)

// A PC without a disk starts the netboot set as its network card's iPXE gets it:
// DHCP names boot.ipxe, which names the rest. It is a node, and serves the release.
func TestNetboot(t *testing.T) {
	long(t)
	t.Parallel()
	w, s := open(t, qemu.X86_64), segment(t)
	bare, err := w.Bare(w.stub)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.NewHost("files")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.AddAddress(netip.MustParsePrefix("10.1.0.20/24")); err != nil {
		t.Fatal(err)
	}
	l, err := h.Listen("0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked := map[string]bool{}
	files := http.FileServer(http.Dir(filepath.Dir(bare.Kernel)))
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path] = true
		mu.Unlock()
		files.ServeHTTP(w, r)
	})}
	go server.Serve(l)
	defer server.Close()
	gateway(t, s).Boot = "http://10.1.0.20/boot.ipxe"

	n := w.start(t, s, w.stub, qemu.Config{Name: "node", Disks: []qemu.Disk{}, NICs: []qemu.NIC{{Segment: s, Boot: true}}})
	up(t, n, lab.Begin, stubVersion)
	healthy(t, n)
	serves(t, n, w.stub)
	mu.Lock()
	defer mu.Unlock()
	for _, file := range []string{"/boot.ipxe", "/vmlinuz", "/initrd"} {
		if !asked[file] {
			t.Errorf("the card's iPXE did not ask for %s", file)
		}
	}
}
