package link

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// arpPacket is an ARP message about IPv4 on Ethernet, RFC 826.
type arpPacket struct {
	reply            bool
	senderHW         hardwareAddr
	sender, targetIP netip.Addr
}

const arpLength = 28

var errNotARP = errors.New("no ARP message about IPv4 on Ethernet")

// marshal leaves the target's hardware address zero, as probes and
// announcements have it.
func (p arpPacket) marshal() []byte {
	b := make([]byte, arpLength)
	copy(b, []byte{0, 1, 8, 0, 6, 4, 0, 1}) // Ethernet, IPv4, their lengths, request
	if p.reply {
		b[7] = 2
	}
	copy(b[8:14], p.senderHW[:])
	sender, target := p.sender.As4(), p.targetIP.As4()
	copy(b[14:18], sender[:])
	copy(b[24:28], target[:])
	return b
}

// parseARP reads a frame's payload; Ethernet pads short ones, so bytes may
// follow.
func parseARP(b []byte) (arpPacket, error) {
	if len(b) < arpLength || binary.BigEndian.Uint64(b)&^3 != 0x0001080006040000 || b[7] == 0 || b[7] == 3 {
		return arpPacket{}, errNotARP
	}
	return arpPacket{
		reply:    b[7] == 2,
		senderHW: hardwareAddr(b[8:14]),
		sender:   netip.AddrFrom4([4]byte(b[14:18])),
		targetIP: netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}

// arpProbe asks whether another station has an address, without claiming it, RFC 5227
// §1.1.
func arpProbe(own hardwareAddr, addr netip.Addr) []byte {
	return arpPacket{senderHW: own, sender: netip.IPv4Unspecified(), targetIP: addr}.marshal()
}

// arpAnnouncement tells all stations who has an address.
func arpAnnouncement(own hardwareAddr, addr netip.Addr) []byte {
	return arpPacket{senderHW: own, sender: addr, targetIP: addr}.marshal()
}

// claims says whether p shows that another station has addr.
func (p arpPacket) claims(addr netip.Addr, own hardwareAddr) bool {
	return p.senderHW != own && p.sender == addr
}

// probes says whether p shows that another station is about to take addr.
func (p arpPacket) probes(addr netip.Addr, own hardwareAddr) bool {
	return p.senderHW != own && !p.reply && p.sender.IsUnspecified() && p.targetIP == addr
}
