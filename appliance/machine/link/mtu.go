package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	etherMTU = 1500 // of Ethernet, and what the kernel gives a card
	leastMTU = 68   // that a server may say, RFC 2132 §5.1
	// oldMTU is what every host must take in one piece (RFC 791 §3.1). A DHCP
	// message is 328 bytes with its headers: on a smaller link a node could not
	// renew the lease that says so.
	oldMTU = 576
	mtu6   = 1280 // of IPv6, RFC 8200 §5
)

// ownMTU is the MTU an interface has by itself. It is not what it has now: that
// may be of a lease, and this program may have been started again since. The
// kernel gives a card 1500, or what the hypervisor says that it can.
func ownMTU(now, most int) int {
	if most < etherMTU || now == most {
		return most
	}
	return etherMTU
}

// fitMTU turns what a server says about the MTU into what the interface is given,
// and says where the two differ, or what it costs.
func fitMTU(name string, said, own, most int) (mtu int, note string) {
	switch {
	case said == 0:
		return own, ""
	case said == unreadable:
		return own, fmt.Sprintf("%s: the DHCP server gives an MTU that is not of two bytes; %d is used: correct its option 26", name, own)
	case said < leastMTU:
		return own, fmt.Sprintf("%s: the DHCP server gives the MTU %d, and the least there may be is %d; %d is used: correct its option 26", name, said, leastMTU, own)
	}
	mtu = min(max(said, oldMTU), most)
	if mtu != said {
		note = fmt.Sprintf("%s: the DHCP server gives the MTU %d, and this interface can use %d to %d; %d is used", name, said, min(oldMTU, most), most, mtu)
	}
	if mtu < mtu6 {
		if note != "" {
			note += ". "
		} else {
			note = name + ": "
		}
		note += fmt.Sprintf("With an MTU of %d there is no IPv6 on this link, which needs %d: if the link carries that, correct option 26 of the DHCP server", mtu, mtu6)
	}
	return mtu, note
}

// useMTU gives the interface the MTU that a server said, 0 for its own. What
// cannot be done about it is said; the lease is good all the same.
func (p *port) useMTU(said int) {
	now, most, err := mtuOfLink(p.index)
	if err != nil {
		if !errors.Is(err, unix.ENODEV) { // else it was pulled out
			p.log.Warn("the MTU is not known", "err", err)
		}
		return
	}
	own := ownMTU(now, most)
	mtu, note := fitMTU(p.name, said, own, most)
	if mtu != now {
		if err = netlink.LinkSetMTU(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: p.index}}, mtu); err == nil {
			p.log.Info("has another MTU", "mtu", mtu, "before", now, "by", mtuSource(mtu, own))
		}
	}
	if err != nil {
		note = fmt.Sprintf("%s: the MTU is not set: %v", p.name, err)
	}
	if note != "" && note != p.mtuNote {
		p.log.Warn("the MTU", "problem", note)
	}
	p.set(func() { p.mtuNote, p.mtuFrom = note, mtuSource(mtu, own) })
	// The kernel has forgotten all IPv6 addresses of the link.
	if ip := p.m.o.Settings.IP; p.static && ip.Address.Addr().Is6() && now < mtu6 && mtu >= mtu6 {
		if err := p.holdStatic(ip); err != nil {
			p.log.Warn("the static address is not set again", "err", err)
		}
	}
}

// mtuSource says where an MTU is from, as it stands in net.json.
func mtuSource(mtu, own int) string {
	if mtu == own {
		return "card"
	}
	return "dhcp"
}

// mtuOfLink asks the kernel for the MTU of an interface, and the most it can
// have.
func mtuOfLink(index int) (now, most int, err error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	about := nl.NewIfInfomsg(unix.AF_UNSPEC)
	about.Index = int32(index)
	request.AddData(about)
	messages, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil || len(messages) == 0 {
		return 0, 0, fmt.Errorf("asking for the MTU: %w", err)
	}
	if len(messages[0]) < unix.SizeofIfInfomsg {
		return 0, 0, errors.New("asking for the MTU: the kernel's answer is too short")
	}
	attrs, err := nl.ParseRouteAttrAsMap(messages[0][unix.SizeofIfInfomsg:])
	if err != nil {
		return 0, 0, fmt.Errorf("asking for the MTU: %w", err)
	}
	number := func(kind uint16) int {
		if value := attrs[kind].Value; len(value) == 4 {
			return int(binary.NativeEndian.Uint32(value))
		}
		return 0
	}
	now, most = number(unix.IFLA_MTU), number(unix.IFLA_MAX_MTU)
	if most == 0 || most > math.MaxUint16 { // the driver names no bound, or one that IP does not reach
		most = math.MaxUint16
	}
	return now, most, nil
}
