package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Interfaces lists the interfaces of this network namespace that are up, in
// order of their index, each with the addresses that can be used at this
// moment. Loopback is among them.
func Interfaces() ([]Interface, error) {
	links, err := listLinks()
	if err != nil {
		return nil, err
	}
	addrs, err := listAddrs(nil)
	if err != nil {
		return nil, err
	}
	var list []Interface
	for _, l := range links {
		attrs := l.Attrs()
		if attrs.Flags&net.FlagUp == 0 {
			continue
		}
		i := Interface{Name: attrs.Name, Index: attrs.Index, MAC: attrs.HardwareAddr.String(), Up: hasCarrier(attrs), MTU: attrs.MTU}
		for _, a := range addrs {
			// A tentative address may still turn out to be another's: the kernel
			// neither sends from it nor answers for it.
			unsure := a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0
			if p, ok := prefixOf(a.IPNet); ok && a.LinkIndex == attrs.Index && !unsure {
				i.Addresses = append(i.Addresses, p)
			}
		}
		slices.SortFunc(i.Addresses, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		list = append(list, i)
	}
	return list, nil
}

func listLinks() ([]netlink.Link, error) {
	links, err := retryDump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	slices.SortFunc(links, func(a, b netlink.Link) int { return a.Attrs().Index - b.Attrs().Index })
	return links, nil
}

// listAddrs returns the addresses of an interface; nil is all of them.
func listAddrs(of netlink.Link) ([]netlink.Addr, error) {
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return netlink.AddrList(of, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	return addrs, nil
}

// retryDump repeats a dump that the kernel says was interrupted by a change.
func retryDump[T any](dump func() ([]T, error)) (list []T, err error) {
	for range 10 {
		if list, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return list, err
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), true
}

func hasCarrier(attrs *netlink.LinkAttrs) bool {
	return attrs.Flags&net.FlagUp != 0 && attrs.RawFlags&unix.IFF_LOWER_UP != 0
}

// Watch returns a channel that holds a value whenever interfaces, addresses or
// carriers may have changed since it was last read; several changes may become
// one value. The channel is closed when ctx ends.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	return watch(ctx, nil)
}

// watch is Watch that also hands the router's announcements of name servers
// to onUserOption, as the kernel passes them on.
func watch(ctx context.Context, onUserOption func([]byte)) (<-chan struct{}, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_ND_USEROPT)
	if err != nil {
		return nil, fmt.Errorf("subscribing to network changes: %w", err)
	}
	changed := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, socket.Close)
	go func() {
		defer close(changed)
		defer stop()
		defer socket.Close()
		for {
			messages, _, err := socket.Receive()
			switch {
			case err == nil, errors.Is(err, syscall.ENOBUFS):
				// Overflow lost messages; the reader lists everything anew anyway.
			case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
				continue
			default: // ctx has ended, or the socket is of no more use
				return
			}
			for _, m := range messages {
				if m.Header.Type == unix.RTM_NEWNDUSEROPT && onUserOption != nil {
					onUserOption(m.Data)
				}
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}
