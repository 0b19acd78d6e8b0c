package plasmd

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"phase/appliance/base/program"
	"phase/appliance/compute/remote"
	"phase/appliance/daemon/config"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/network/releases"
	"phase/appliance/release/store"
)

// reachFlags are the options of all commands that take part in the network of
// nodes.
type reachFlags struct {
	Listen    []string `placeholder:"MADDR" help:"Listen for peers here, like /ip4/0.0.0.0/udp/7420/quic-v1; may be repeated (default: port 7420, by QUIC and TCP)."`
	Bootstrap []string `placeholder:"MADDR" help:"A peer by which others are found, like /ip4/192.0.2.1/udp/7420/quic-v1/p2p/12D3KooW...; may be repeated."`
}

// networkFlags are those of the daemon.
type networkFlags struct {
	reachFlags
	Peer    []string `placeholder:"MADDR" help:"A peer to keep connected; may be repeated."`
	Accept  string   `placeholder:"none|all|PEER,..." help:"Whose jobs run here, of those that come over the network (default: none)."`
	Network string   `placeholder:"MODE" help:"internet, local (nothing beyond the links of this machine), private (dial only, under a new peer id) or off (default: internet)."`
	Relay   bool     `help:"Carry connections of nodes that cannot reach each other."`
}

// The modes of the network.
const (
	modeLocal = "local"
	modeOff   = "off"
)

// fill takes from the configuration what no flag says. mode is that of the
// machine, "" on a laptop.
func (f *networkFlags) fill(c config.Network, mode string) error {
	if err := f.check("--"); err != nil {
		return program.Usagef("%w", err)
	}
	kept := networkFlags{Peer: c.Peers, Accept: or(c.Accept, "none"), Network: or(c.Mode, ""), reachFlags: reachFlags{Listen: c.Listen, Bootstrap: c.Bootstrap}}
	if err := kept.check("network."); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	for _, of := range []struct {
		flag *[]string
		key  []string
	}{{&f.Listen, c.Listen}, {&f.Bootstrap, c.Bootstrap}, {&f.Peer, c.Peers}} {
		if len(*of.flag) == 0 {
			*of.flag = of.key
		}
	}
	f.Accept = first3(f.Accept, or(c.Accept, ""), "none")
	f.Network = first3(f.Network, mode, or(c.Mode, ""))
	if f.Network == "" {
		f.Network = "internet"
	}
	f.Relay = f.Relay || or(c.Relay, false)
	return nil
}

// check refuses values that cannot be; prefix is how their names are written.
func (f networkFlags) check(prefix string) error {
	if err := f.reachFlags.check(prefix); err != nil {
		return err
	}
	for _, text := range f.Peer {
		if _, err := peer.ParseAddress(text); err != nil {
			return fmt.Errorf("%speer: %w", prefix, err)
		}
	}
	if f.Network != "" && !slices.Contains(config.Modes, f.Network) {
		return fmt.Errorf("%snetwork: %q is none of %s", prefix, f.Network, strings.Join(config.Modes, ", "))
	}
	if f.Network == modeOff && (len(f.Listen)+len(f.Bootstrap)+len(f.Peer) > 0 || f.Relay) {
		return fmt.Errorf("%snetwork: off leaves nothing for the other options of the network to do", prefix)
	}
	if _, err := remote.ParseAccept(f.Accept); err != nil {
		return fmt.Errorf("%saccept: %w", prefix, err)
	}
	return nil
}

func (f reachFlags) check(prefix string) error {
	for _, text := range f.Bootstrap {
		if _, err := peer.ParseAddress(text); err != nil {
			return fmt.Errorf("%sbootstrap: %w", prefix, err)
		}
	}
	for _, text := range f.Listen {
		if err := peer.CheckListen(text); err != nil {
			return fmt.Errorf("%slisten: %w", prefix, err)
		}
	}
	return nil
}

func first3(a, b, c string) string {
	switch {
	case a != "":
		return a
	case b != "":
		return b
	}
	return c
}

// host is what a host is opened with, nil where there is none. block is of the
// configuration, data the folder of the daemon, "" for none.
func (f networkFlags) host(s server, block []string, data string) *tasks.Network {
	if f.Network == modeOff {
		return nil
	}
	c := peer.Config{
		Identity: s.id, Listen: f.Listen, Bootstrap: f.Bootstrap, Peers: f.Peer, Block: block,
		OnLink: f.Network == modeLocal, Relay: f.Relay, Agent: agent(),
	}
	switch {
	case f.Network == modePrivate:
		c.Listen, c.Relay = nil, false
	case len(c.Listen) == 0:
		c.Bind = netip.IPv6Unspecified()
	}
	if data != "" && f.Network != modePrivate {
		c.Remember = filepath.Join(data, peersName)
	}
	n := tasks.NewNetwork(c, s.problems)
	n.Nearby = f.Network != modePrivate
	n.Must = len(f.Listen)+len(f.Bootstrap)+len(f.Peer) > 0 && s.stateDir == ""
	return n
}

// joinDHT has the node find and publish releases in the DHT. One that is quiet
// serves nobody and publishes nothing.
func (s server) joinDHT(held *store.Store, port func() uint16, provider http.Handler, quiet bool) {
	s.network.Join = append(s.network.Join, func(ctx context.Context, node *peer.Node) func() {
		table, err := dht.Open(dht.Config{Host: node.Host(), Client: quiet, Fleet: s.roots.Fleet()})
		if err != nil {
			s.problems.Add(err)
			return nil
		}
		node.SetFindPeer(table.FindPeer)
		c := releases.Config{Host: node.Host(), DHT: table, Roots: s.roots}
		if !quiet {
			c.Store = held
			c.Ports = func() []uint16 {
				if p := port(); p != 0 {
					return []uint16{p}
				}
				return nil
			}
		}
		found := releases.Open(c)
		s.network.SetTable(table, found)
		return func() {
			defer table.Close()
			var all sync.WaitGroup
			all.Go(func() { table.Run(ctx) })
			all.Go(func() { found.Run(ctx) })
			if !quiet {
				all.Go(func() {
					if err := releases.Serve(ctx, node.Host(), provider); err != nil {
						s.problems.Add(err)
					}
				})
			}
			all.Wait()
		}
	})
}

// peersName is the file of the peers of last time.
const peersName = "peers.json"

// agent is what other nodes are told of this program.
func agent() string { return fmt.Sprintf("phase/%s", program.Version) }
