// Package places says where plasmd keeps things on a laptop or a server: in one
// set of folders for root, and for everybody else in those of the XDG base
// directory specification, which takes nothing but absolute paths.
package places

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Folder is a folder of Phase's for a user by number: root's own, or else that
// of the variable, or else one below home. What names it in the error.
func Folder(uid int, what, ofRoot, variable string, below ...string) (string, error) {
	if uid == 0 {
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

// Config is where the configuration is unless --config says otherwise.
func Config(uid int) (string, error) {
	dir, err := Folder(uid, "configuration", "/etc/phase", "XDG_CONFIG_HOME", ".config")
	return filepath.Join(dir, "plasmd.toml"), err
}

// Data is where identity, token and history are kept.
func Data(uid int) (string, error) {
	return Folder(uid, "identity", "/var/lib/phase", "XDG_DATA_HOME", ".local", "share")
}

// Socket is where the daemon listens. A user without a runtime folder has the
// socket beside the identity, in a folder that is as private.
func Socket(uid int) (string, error) {
	dir, err := Data(uid)
	if uid == 0 || filepath.IsAbs(os.Getenv("XDG_RUNTIME_DIR")) {
		dir, err = Folder(uid, "socket", "/run/phase", "XDG_RUNTIME_DIR")
	}
	if err != nil {
		return "", fmt.Errorf("finding the socket: %w", err)
	}
	return filepath.Join(dir, "plasmd.sock"), nil
}

// Service is the socket of plasmd where it runs as a service of the machine.
const Service = "/run/phase/plasmd.sock"

// Asked is the socket of the daemon that a user's commands ask: that of the
// user's own daemon, or that of the service where there is none and the user may
// write to the service's.
func Asked(uid int, service string) (string, error) {
	const write = 2 // W_OK of access(2)
	own, err := Socket(uid)
	if err == nil {
		_, err = os.Lstat(own)
	}
	if err != nil && syscall.Access(service, write) == nil {
		return service, nil
	}
	return Socket(uid)
}
