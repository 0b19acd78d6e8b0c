package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/machine/linux"
	"phase/appliance/machine/settings"
)

// classRoot is where the kernel lists the network interfaces, see
// Documentation/ABI/testing/sysfs-class-net.
const classRoot = "/sys/class/net"

// ethernet is ARPHRD_ETHER of linux/if_arp.h, as its file says it.
const ethernet = "1"

// Raise prepares and raises every wired interface there is: hardware that
// speaks Ethernet, no radio, and on its own. Those that could not be raised are
// in the error; the others are up.
func Raise(o settings.Options) error {
	_ = PrepareAll(o) // net does it again, and reports what went wrong
	names, err := wired(classRoot)
	errs := []error{err}
	for _, name := range names {
		if _, err := Prepare(name, o); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, linux.InterfaceUp(name))
	}
	return errors.Join(errs...)
}

func wired(root string) (names []string, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("listing the network interfaces: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		has := func(file string) bool {
			_, err := os.Stat(filepath.Join(dir, file))
			return err == nil
		}
		kind, err := os.ReadFile(filepath.Join(dir, "type"))
		if err == nil && strings.TrimSpace(string(kind)) == ethernet && has("device") && !has("phy80211") && !has("master") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
