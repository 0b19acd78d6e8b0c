package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"phase/appliance/base/strictjson"
)

// Two nodes behind one router that met through a relay do not know each other's
// addresses on the LAN, as those are not told to public peers, and few routers
// let them reach each other by the public one. So who dialled through the relay
// says by which public addresses it is seen, and is told the addresses on the
// LAN by a peer that is seen by one of the same.
const (
	introduceProtocol protocol.ID = "/phase/introduce/1.0.0"
	introduceTime                 = 10 * time.Second // for question and answer
	maxIntroduce                  = 4 << 10          // bytes of each
	maxIntroduced                 = 16               // addresses in each
)

// introduction is the question, with Public, and the answer, with Addresses.
type introduction struct {
	Public    []netip.Addr `json:"public,omitempty"`
	Addresses []string     `json:"addresses,omitempty"` // multiaddrs without a peer id
}

// parseIntroduction reads what a peer sent.
func parseIntroduction(data []byte) (introduction, error) {
	var i introduction
	if err := strictjson.Unmarshal(data, &i, strictjson.Limit(maxIntroduce)); err != nil {
		return introduction{}, err
	}
	if len(i.Public) > maxIntroduced || len(i.Addresses) > maxIntroduced {
		return introduction{}, fmt.Errorf("it has more than %d addresses", maxIntroduced)
	}
	return i, nil
}

// dialable are the addresses in an answer that are on the machine's own links:
// a peer cannot have the node dial anything else.
func (n *Node) dialable(i introduction) (list []multiaddr.Multiaddr) {
	for _, text := range i.Addresses {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			continue
		}
		if ip, err := manet.ToIP(a); err == nil && ip.IsPrivate() && n.gater.near(a) {
			list = append(list, a)
		}
	}
	return list
}

// seen are the public addresses by which others see the node.
func (n *Node) seen() (list []netip.Addr) {
	for _, a := range n.punchable() {
		if ip, err := manet.ToIP(a); err == nil && ip.To4() != nil {
			list = append(list, netip.AddrFrom4([4]byte(ip.To4())))
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	return list[:min(len(list), maxIntroduced)]
}

// lanAddresses are those of the node that only its LAN can use.
func (n *Node) lanAddresses() (list []string) {
	for _, a := range n.advertised(n.host.AllAddrs()) {
		if ip, err := manet.ToIP(a); err == nil && ip.IsPrivate() && len(list) < maxIntroduced {
			list = append(list, a.String())
		}
	}
	return list
}

// answer tells a peer behind the same router the node's addresses on the LAN.
func (n *Node) answer(s network.Stream) {
	defer s.Close()
	s.SetDeadline(time.Now().Add(introduceTime))
	question, err := readIntroduction(s)
	if err != nil {
		s.Reset()
		return
	}
	var reply introduction
	seen := n.seen()
	if slices.ContainsFunc(question.Public, func(a netip.Addr) bool { return slices.Contains(seen, a) }) {
		reply.Addresses = n.lanAddresses()
	}
	if writeIntroduction(s, reply) != nil {
		s.Reset()
	}
}

// introductions goes through the peers that were dialled through a relay.
func (n *Node) introductions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-n.met:
			n.tasks.Go(func() { n.introduce(ctx, id) })
		}
	}
}

// introduce asks a peer that is reached through a relay whether it is on the
// same LAN, and dials it there.
func (n *Node) introduce(ctx context.Context, to peer.ID) {
	seen := n.seen()
	if len(seen) == 0 {
		return
	}
	answer, err := n.askIntroduction(ctx, to, introduction{Public: seen})
	if err != nil {
		return // that it speaks no such protocol is usual
	}
	addresses := n.dialable(answer)
	if len(addresses) == 0 {
		return // it is elsewhere
	}
	n.event("introduced", "peer", to, "addresses", addresses)
	// Those alone: all others wait longer for an answer that never comes.
	ctx = network.WithForceDirectDial(ctx, "it is on the same LAN")
	if err := n.Connect(ctx, peer.AddrInfo{ID: to, Addrs: addresses}); err != nil && ctx.Err() == nil {
		n.event("unreachable", "peer", to, "reason", err.Error())
	}
}

func (n *Node) askIntroduction(ctx context.Context, to peer.ID, question introduction) (introduction, error) {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(network.WithNoDial(ctx, "introduce"), "introduce"), introduceTime)
	defer cancel()
	s, err := n.host.NewStream(ctx, to, introduceProtocol)
	if err != nil {
		return introduction{}, err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(introduceTime))
	if err := errors.Join(writeIntroduction(s, question), s.CloseWrite()); err != nil {
		s.Reset()
		return introduction{}, err
	}
	answer, err := readIntroduction(s)
	if err != nil {
		s.Reset()
	}
	return answer, err
}

func readIntroduction(r io.Reader) (introduction, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxIntroduce+1))
	if err != nil {
		return introduction{}, err
	}
	return parseIntroduction(data)
}

func writeIntroduction(w io.Writer, i introduction) error {
	data, err := strictjson.Marshal(i)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
