package peer

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// Info is a peer that is connected.
type Info struct {
	Peer      string    `json:"peer"`
	Path      Path      `json:"path"`
	Address   string    `json:"address"`   // a multiaddr, without the peer id
	Direction string    `json:"direction"` // inbound or outbound
	Since     time.Time `json:"since"`     // of this path
	LatencyMS float64   `json:"latency_ms"`
	Agent     string    `json:"agent"`
	Reason    string    `json:"reason,omitempty"` // why it is reached through a relay alone
}

// Peers lists who is connected, by peer id.
func (n *Node) Peers() []Info {
	list := []Info{}
	for _, id := range n.host.Network().Peers() {
		if info, ok := n.info(id); ok {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Peer, b.Peer) })
	return list
}

func (n *Node) info(id peer.ID) (Info, bool) {
	conns := n.host.Network().ConnsToPeer(id)
	known, ok := n.paths.of(id)
	if len(conns) == 0 || !ok {
		return Info{}, false
	}
	// A direct connection is the one that is used.
	slices.SortStableFunc(conns, func(a, b network.Conn) int {
		return cmp.Compare(btoi(relayed(a.RemoteMultiaddr())), btoi(relayed(b.RemoteMultiaddr())))
	})
	agent, _ := n.host.Peerstore().Get(id, "AgentVersion")
	text, _ := agent.(string)
	info := Info{
		Peer: id.String(), Path: known.kind, Address: conns[0].RemoteMultiaddr().String(), Direction: strings.ToLower(conns[0].Stat().Direction.String()),
		Since: known.since.UTC(), LatencyMS: float64(n.host.Peerstore().LatencyEWMA(id).Microseconds()) / 1000, Agent: text,
	}
	if known.kind == Relayed {
		info.Reason = known.reason
		if info.Reason == "" {
			info.Reason = "no public address of one of both is known yet"
		}
	}
	return info, true
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Addresses are what others are told of this node, each with its peer id.
func (n *Node) Addresses() []string {
	list := []string{}
	for _, a := range n.host.Addrs() {
		list = append(list, a.String()+"/p2p/"+n.host.ID().String())
	}
	return list
}

// Reachability is whether others can dial this node, as far as it is known.
func (n *Node) Reachability() Reachability { return n.reach.now() }

// shorten is an error of dialling without the library's prefix and the list of
// all addresses, which fills a screen.
func shorten(err error) error {
	var dial *swarm.DialError
	if errors.As(err, &dial) && len(dial.DialErrors) > 0 {
		first := dial.DialErrors[0]
		return errors.New(first.Address.String() + ": " + first.Cause.Error())
	}
	return err
}
