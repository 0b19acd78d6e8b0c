package plasmd

import (
	"fmt"
	"os"
	"path/filepath"

	"phase/appliance/base/identity"
)

// Where things are on a laptop or a server: one set of folders for root, and
// for everybody else those of the XDG base directory specification, which takes
// nothing but absolute paths.

// effectiveUser is who runs this.
var effectiveUser = os.Geteuid

// place is a folder of Phase's: root's own, or else that of the variable, or else
// one below home.
func place(what, ofRoot, variable string, below ...string) (string, error) {
	if effectiveUser() == 0 {
		return ofRoot, nil
	}
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "phase"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding the %s: %w; set %s", what, err, variable)
	}
	return filepath.Join(append(append([]string{home}, below...), "phase")...), nil
}

// configPath is where the configuration is unless --config says otherwise.
func configPath() (string, error) {
	dir, err := place("configuration", "/etc/phase", "XDG_CONFIG_HOME", ".config")
	return filepath.Join(dir, "plasmd.toml"), err
}

// dataDir is where identity, token and history are kept.
func dataDir() (string, error) {
	return place("identity", "/var/lib/phase", "XDG_DATA_HOME", ".local", "share")
}

// socketPath is where the daemon listens. A user without a runtime folder has
// the socket beside the identity, in a folder that is as private.
func socketPath() (string, error) {
	dir, err := dataDir()
	if effectiveUser() == 0 || filepath.IsAbs(os.Getenv("XDG_RUNTIME_DIR")) {
		dir, err = place("socket", "/run/phase", "XDG_RUNTIME_DIR")
	}
	if err != nil {
		return "", fmt.Errorf("finding the socket: %w", err)
	}
	return filepath.Join(dir, "plasmd.sock"), nil
}

// laptopIdentity is the identity of a user who runs plasmd without a daemon.
func laptopIdentity() (identity.Identity, error) {
	dir, err := dataDir()
	if err != nil {
		return identity.Identity{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return identity.Identity{}, fmt.Errorf("keeping an identity: %w", err)
	}
	return identity.Load(dir)
}
