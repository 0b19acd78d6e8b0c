package nic

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"phase/appliance/machine/settings"
)

func TestSettingsThatMatter(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"ipv4/conf/eth0", "ipv6/conf/eth0"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	local := table(settings.Options{Mode: settings.Local})
	if _, err := apply(root, "eth0", local); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "ipv6/conf/eth0/accept_ra_defrtr")); err != nil || string(got) != "0" {
		t.Errorf("routers' default routes: %q, %v", got, err)
	}
	// A kernel that cannot be told leaves the interface down.
	if err := os.Remove(filepath.Join(root, "ipv6/conf/eth0/accept_ra_defrtr")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "ipv6/conf/eth0/accept_ra_defrtr"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := apply(root, "eth0", local); err == nil || !strings.Contains(err.Error(), "stays down") {
		t.Errorf("went on without: %v", err)
	}
	// One without IPv6 at all has nothing to be told.
	if err := os.RemoveAll(filepath.Join(root, "ipv6")); err != nil {
		t.Fatal(err)
	}
	problems, err := apply(root, "eth0", local)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], "no IPv6") {
		t.Errorf("without IPv6: %q, %v", problems, err)
	}
}

func TestRouters(t *testing.T) {
	for static, want := range map[string]string{"dhcp": "1", "192.0.2.7/24": "1", "2001:db8::7/64": "0"} {
		ip, err := settings.ParseIP(static)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range table(settings.Options{IP: ip}) {
			if s.path == "ipv6/conf/%s/accept_ra" && s.value != want {
				t.Errorf("with the address %s routers are heard: %s", static, s.value)
			}
		}
	}
}

// Only hardware that speaks Ethernet, on its own, is raised before anybody
// looks closer.
func TestWired(t *testing.T) {
	root := t.TempDir()
	for name, files := range map[string][]string{
		"eth0": {"device"}, "eth1": {"device"}, "wlan0": {"device", "phy80211"}, "slave": {"device", "master"}, "bridge0": {}, "lo": {}, "can0": {"device"},
	} {
		kind := map[string]string{"lo": "772\n", "can0": "280\n"}[name]
		if kind == "" {
			kind = "1\n"
		}
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "type"), []byte(kind), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What is no interface's folder, like bonding_masters, is passed over.
	if err := os.WriteFile(filepath.Join(root, "bonding_masters"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := wired(root)
	if err != nil || !slices.Equal(got, []string{"eth0", "eth1"}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := wired(filepath.Join(root, "none")); err == nil {
		t.Error("interfaces are listed where there are none")
	}
}
