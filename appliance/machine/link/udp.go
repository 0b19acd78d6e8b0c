package link

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
)

// dhcpFilter lets through unfragmented IPv4 UDP to the client port, so that a
// machine busy with other traffic does not hand all of it to this program.
var dhcpFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // protocol
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 6, K: unix.IPPROTO_UDP},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6}, // fragment
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 4, K: 0x3fff},
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // header length
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},  // destination port
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: dhcpClientPort},
	{Code: unix.BPF_RET | unix.BPF_K, K: maxFrame},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

var errNotUDP = errors.New("no whole IPv4 UDP packet")

// udpPacket wraps a DHCP client's message for a network on which it may not
// have an address yet, RFC 791 and RFC 768.
func udpPacket(from, to netip.Addr, payload []byte) []byte {
	b := make([]byte, 28+len(payload))
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8], b[9] = 64, unix.IPPROTO_UDP
	source, destination := from.As4(), to.As4()
	copy(b[12:], source[:])
	copy(b[16:], destination[:])
	binary.BigEndian.PutUint16(b[10:], ^checksum(0, b[:20]))
	binary.BigEndian.PutUint16(b[20:], dhcpClientPort)
	binary.BigEndian.PutUint16(b[22:], dhcpServerPort)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	copy(b[28:], payload)
	pseudo := uint32(unix.IPPROTO_UDP) + uint32(8+len(payload))
	sum := ^checksum(pseudo+uint32(checksum(0, b[12:20])), b[20:])
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[26:], sum)
	return b
}

// udpPayload is what an IPv4 UDP packet to the client port carries. The UDP
// checksum is not looked at: between virtual machines it is often left to a
// device that never sees the packet, and DHCP matches its transaction anyway.
func udpPayload(b []byte) (from netip.Addr, payload []byte, err error) {
	if len(b) < 28 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP {
		return from, nil, errNotUDP
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total > len(b) || total < header+8 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return from, nil, errNotUDP
	}
	udp := b[header:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp[2:]) != dhcpClientPort || length < 8 || length > len(udp) {
		return from, nil, errNotUDP
	}
	return netip.AddrFrom4([4]byte(b[12:16])), udp[8:length], nil
}

// checksum is the ones' complement sum of RFC 1071, not yet inverted.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
