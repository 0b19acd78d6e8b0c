package places_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/daemon/places"
)

func TestPlaces(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for _, c := range []struct {
		uid                int
		runtime            string
		config, data, sock string
	}{
		{0, "", "/etc/phase/plasmd.toml", "/var/lib/phase", "/run/phase/plasmd.sock"},
		{1000, "/run/user/1000", "/home/me/.config/phase/plasmd.toml", "/home/me/.local/share/phase", "/run/user/1000/phase/plasmd.sock"},
		{1000, "relative", "/home/me/.config/phase/plasmd.toml", "/home/me/.local/share/phase", "/home/me/.local/share/phase/plasmd.sock"},
	} {
		t.Setenv("XDG_CONFIG_HOME", "")
		t.Setenv("XDG_DATA_HOME", "")
		t.Setenv("XDG_RUNTIME_DIR", c.runtime)
		config, err1 := places.Config(c.uid)
		data, err2 := places.Data(c.uid)
		sock, err3 := places.Socket(c.uid)
		if config != c.config || data != c.data || sock != c.sock || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("user %d: %s, %s, %s; %v %v %v", c.uid, config, data, sock, err1, err2, err3)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, err := places.Socket(1000); err == nil {
		t.Error("a user without a home has a socket")
	}
}

// A member of the service's group asks it without naming its socket, but not in
// place of a daemon of their own, nor one that would not take the question.
func TestAsked(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	service, own := filepath.Join(dir, "service"), filepath.Join(dir, "phase", "plasmd.sock")
	asks := func(want string) {
		t.Helper()
		if got, err := places.Asked(1000, service); got != want || err != nil {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asks(own)
	write(service)
	asks(service)
	if os.Geteuid() != 0 {
		if err := os.Chmod(service, 0o400); err != nil {
			t.Fatal(err)
		}
		asks(own)
	}
	if err := os.Mkdir(filepath.Dir(own), 0o700); err != nil {
		t.Fatal(err)
	}
	write(own)
	asks(own)
}

func ExampleSocket() {
	fmt.Println(places.Socket(0))
	// Output: /run/phase/plasmd.sock <nil>
}
