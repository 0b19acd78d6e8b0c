package netlab

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// openTAP makes a TAP device in the namespace of the calling thread. It exists
// as long as the file is open.
func openTAP(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		// No IFF_VNET_HDR: the kernel then fills in every checksum and cuts
		// every frame to the MTU itself.
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the TAP device %q: %w", name, err), unix.Close(fd))
	}
	// Only now: the poller asks a device, which the file is since TUNSETIFF.
	return os.NewFile(uintptr(fd), name), nil
}

// setCarrier gives the TAP device a carrier or takes it away.
func setCarrier(tap *os.File, carrier bool) error {
	value := int32(0)
	if carrier {
		value = 1
	}
	raw, err := tap.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.TUNSETCARRIER, uintptr(unsafe.Pointer(&value)))
	}); err != nil {
		return err
	}
	if errno != 0 {
		return fmt.Errorf("setting the carrier of %s: %w", tap.Name(), errno)
	}
	return nil
}

// raise brings up an interface of the calling thread's namespace and gives it
// addresses, in CIDR notation.
func raise(name string, addresses []string) error {
	// Duplicate address detection holds an IPv6 address back for two seconds;
	// no two machines here are given the same.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for _, text := range addresses {
		address, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, address); err != nil {
			return fmt.Errorf("adding %s to %s: %w", text, name, err)
		}
	}
	return nil
}
