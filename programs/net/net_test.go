package net

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"phase/appliance/boot"
	"phase/appliance/link"
	"phase/appliance/link/netlab"
	"phase/appliance/state"
	"phase/appliance/strictjson"
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
	events, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.InotifyAddWatch(events, dir, unix.IN_MOVED_TO); err != nil {
		return err
	}
	go func() {
		for buf := make([]byte, 4096); ; {
			if _, err := unix.Read(events, buf); err != nil && err != unix.EINTR {
				return
			}
			var n state.Net
			if err := state.Read(dir, state.NetFile, &n); err == nil {
				say(n)
			}
		}
	}()
	return Run(ctx, []string{"--state", dir, "--resolv", filepath.Join(dir, "resolv.conf"), "--name", "phase-1a2b3c4d"}, nil, os.Stdout, os.Stderr)
}

func writeBoot(t *testing.T, dir string, o boot.Options) {
	t.Helper()
	raw, err := strictjson.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Write(dir, state.BootFile, state.Boot{Mode: string(o.Mode), Options: raw}); err != nil {
		t.Fatal(err)
	}
}

func TestModes(t *testing.T) {
	static := boot.IP{Address: netip.MustParsePrefix("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1")}
	for name, c := range map[string]struct {
		change func(*boot.Options)
		want   link.Options
	}{
		"internet": {func(o *boot.Options) {}, link.Options{HostName: "n"}},
		"local":    {func(o *boot.Options) { o.Mode = boot.Local }, link.Options{HostName: "n", OnLink: true}},
		"private":  {func(o *boot.Options) { o.Mode = boot.Private }, link.Options{HostName: "n", Anonymous: true}},
		"static": {func(o *boot.Options) { o.IP = static },
			link.Options{HostName: "n", Static: &link.Static{Address: static.Address, Gateway: static.Gateway}}},
	} {
		dir := t.TempDir()
		o := boot.Default()
		c.change(&o)
		writeBoot(t, dir, o)
		read, err := readBoot(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := linkOptions(read, "n"); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
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
			if err := os.WriteFile(filepath.Join(dir, state.BootFile), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var stdout, stderr bytes.Buffer
		err := Run(t.Context(), []string{"--state", dir}, nil, &stdout, &stderr)
		if err == nil || !strings.Contains(err.Error(), state.BootFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTellsTheOtherPrograms(t *testing.T) {
	if !netlab.Isolated(t) {
		return
	}
	dir := t.TempDir()
	o := boot.Default()
	o.IP = boot.IP{Address: netip.MustParsePrefix("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1"), DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}
	writeBoot(t, dir, o)
	s := netlab.NewSegment(t, "sw")
	n := netlab.Start(t, "node", "net", dir)
	cable := s.Plug(t, n, "eth0")
	netlab.Wait(t, n, "net.json with the static address", func(s state.Net) bool {
		return len(s.Interfaces) == 1 && s.Interfaces[0].Method == "static" && s.Interfaces[0].MAC == cable.MAC &&
			strings.Contains(strings.Join(s.Interfaces[0].Addresses, " "), "192.0.2.7/24")
	})
	data, err := os.ReadFile(filepath.Join(dir, "resolv.conf"))
	if err != nil || !strings.Contains(string(data), "nameserver 192.0.2.53\n") {
		t.Errorf("resolv.conf %q, %v", data, err)
	}
}
