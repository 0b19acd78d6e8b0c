package link

import (
	"crypto/rand"
	"fmt"
	"net"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// maxFrame is more than the payload of any frame of the protocols spoken here
// on links of any sensible MTU.
const maxFrame = 9216

// openPacket speaks one Ethernet protocol on one interface, below IP: ARP, and
// DHCP before there is an address. Reads and writes carry the payload of a
// frame.
func openPacket(index int, protocol int, filter []bpf.RawInstruction) (*packet.Conn, error) {
	conn, err := packet.Listen(&net.Interface{Index: index}, packet.Datagram, protocol, &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket on interface %d: %w", index, err)
	}
	return conn, nil
}

// leastPayload is what Ethernet pads shorter payloads to (IEEE 802.3 §3.2.7). A
// virtual card sends them as they are, and a switch behind it may drop them.
const leastPayload = 46

// broadcast sends a payload to every station of the segment.
func broadcast(conn *packet.Conn, payload []byte) error {
	payload = append(slices.Clip(payload), make([]byte, max(leastPayload-len(payload), 0))...)
	if _, err := conn.WriteTo(payload, &packet.Addr{HardwareAddr: nclient4.BroadcastMac}); err != nil {
		return fmt.Errorf("sending a frame: %w", err)
	}
	return nil
}

// dhcpFilter lets through unfragmented IPv4 UDP to the client port, so that a
// machine busy with other traffic does not hand all of it to this program.
var dhcpFilter = []bpf.RawInstruction{
	{Op: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // protocol
	{Op: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 6, K: unix.IPPROTO_UDP},
	{Op: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 6}, // fragment
	{Op: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 4, K: 0x3fff},
	{Op: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0}, // header length
	{Op: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},  // destination port
	{Op: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: dhcpv4.ClientPort},
	{Op: unix.BPF_RET | unix.BPF_K, K: maxFrame},
	{Op: unix.BPF_RET | unix.BPF_K, K: 0},
}

// hardwareAddr is an Ethernet address that can be compared.
type hardwareAddr [6]byte

func (h hardwareAddr) String() string { return net.HardwareAddr(h[:]).String() }

// randomHardwareAddr is an address of one station, and no maker's.
func randomHardwareAddr() (h hardwareAddr) {
	rand.Read(h[:])
	h[0] = h[0]&^1 | 2
	return h
}
