package net

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/settings"
	"phase/tests/netlab"
)

func TestMain(m *testing.M) {
	netlab.Main(m, map[string]netlab.Role{"net": netRole})
}

// netRole runs the program and tells each net.json it writes.
func netRole(ctx context.Context, args []byte, say func(any)) error {
	var dir string
	if err := json.Unmarshal(args, &dir); err != nil {
		return err
	}
	// A change of the network is news before the file tells it; that the file
	// has taken its place is news after.
	replaced, err := netlab.Replaced(dir)
	if err != nil {
		return err
	}
	go func() {
		for range replaced {
			var n statefile.Net
			if err := statefile.Read(dir, statefile.NetFile, &n); err == nil {
				say(n)
			}
		}
	}()
	return Run(ctx, []string{"--state", dir, "--resolv", filepath.Join(dir, "resolv.conf"), "--name", "phase-1a2b3c4d"}, nil, os.Stdout, os.Stderr)
}

func writeBoot(t *testing.T, dir string, o settings.Options) {
	t.Helper()
	raw, err := strictjson.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := statefile.Write(dir, statefile.BootFile, statefile.Boot{Mode: string(o.Mode), Options: raw}); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesToGuess(t *testing.T) {
	for name, text := range map[string]string{
		"no file":        "",
		"no options":     `{"mode":"private"}`,
		"unknown option": `{"options":{"mode":"private","colour":"red"}}`,
		"damaged":        `{"options":{"mode":"pri`,
	} {
		dir := t.TempDir()
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, statefile.BootFile), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var stdout, stderr bytes.Buffer
		err := Run(t.Context(), []string{"--state", dir}, nil, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), statefile.BootFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTellsTheOtherPrograms(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	dir := t.TempDir()
	o := settings.Default()
	o.IP = settings.IP{Address: netip.MustParsePrefix("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1"), DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}
	writeBoot(t, dir, o)
	s := netlab.NewSegment(t, "sw")
	n := netlab.Start(t, "node", "net", dir)
	cable := s.Plug(t, n, "eth0")
	netlab.Wait(t, n, "net.json with the static address", func(s statefile.Net) bool {
		return len(s.Interfaces) == 1 && s.Interfaces[0].Method == "static" && s.Interfaces[0].MAC == cable.MAC &&
			strings.Contains(strings.Join(s.Interfaces[0].Addresses, " "), "192.0.2.7/24")
	})
	data, err := os.ReadFile(filepath.Join(dir, "resolv.conf"))
	if err != nil || !strings.Contains(string(data), "nameserver 192.0.2.53\n") {
		t.Errorf("resolv.conf %q, %v", data, err)
	}
}
