package plasmd

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/peer"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/store"
)

// rescan is how often a folder served is looked at for changes.
const rescan = 2 * time.Second

type serveCmd struct {
	Folder  string `name:"artifacts" short:"a" default:"." placeholder:"DIR" help:"The folder, with <channel>/<arch>/manifest.json and the files beside it (${default})."`
	Channel string `type:"channel" short:"c" placeholder:"CHANNEL" help:"Serve this channel only: stable, testing or nightly."`
	Arch    string `type:"arch" short:"A" placeholder:"ARCH" help:"Serve this arch only: x86_64 or arm64."`
	Port    uint16 `short:"p" default:"8080" help:"Port to listen on, 0 for any that is free (${default})."`
	Bind    string `short:"b" default:"::" placeholder:"ADDR" help:"Address to listen on (${default}: all, IPv4 too)."`
	Root    string `short:"r" placeholder:"FILE" help:"The root that releases must verify under (default: root/1.json in the folder, else /etc/phase/root.json)."`
	NoDHT   bool   `name:"no-dht" help:"Have no part in the network of nodes: be found on the local network alone."`
	NoMDNS  bool   `name:"no-mdns" help:"Announce nothing on the local network."`
	reachFlags
}

func (c serveCmd) run(ctx context.Context, log io.Writer) error {
	channels, arches := names.Channels, names.Arches
	if c.Channel != "" {
		channels = []string{c.Channel}
	}
	if c.Arch != "" {
		arches = []string{c.Arch}
	}
	folder, err := os.OpenRoot(c.Folder)
	if err != nil {
		return fmt.Errorf("serving a folder: %w", err)
	}
	defer folder.Close()
	rootPath, err := c.rootPath()
	if err != nil {
		return err
	}
	trusted, err := roots.LoadNamed(rootPath)
	if err != nil {
		return err
	}
	id, err := identity.Ephemeral(rand.Reader)
	if err != nil {
		return err
	}
	channel, arch := first(folder, channels, arches)
	s := server{
		id: id, log: log, problems: tasks.NewProblems(log), channel: channel, arch: arch, announce: !c.NoMDNS,
		address: net.JoinHostPort(strings.Trim(c.Bind, "[]"), strconv.Itoa(int(c.Port))),
	}
	var releases *store.Folder
	s.source = tasks.Source{
		Promise: fmt.Sprintf("%s holds no release that verifies under %s", c.Folder, rootPath),
		Fill: func(ctx context.Context, into *store.Store, report func([]store.Problem)) error {
			releases = store.NewFolder(into, folder, trusted.Roots...)
			report(releases.Scan(ctx, channels, arches))
			return nil
		},
		Follow: func(ctx context.Context, report func([]store.Problem)) {
			releases.Watch(ctx, rescan, channels, arches, report)
		},
	}
	fmt.Fprintf(log, "peer %s\n", id.PeerID())
	if s.network, err = c.host(s); err != nil {
		return err
	}
	if s.roots, s.root = trusted.Chain, trusted.Last(); trusted.NoChain != nil && s.network != nil {
		return trusted.NoChain
	}
	if c.Root != "" { // those in the folder are told by its scan
		for _, problem := range trusted.Problems {
			s.problems.Add(problem)
		}
	}
	return s.run(ctx, jobs{})
}

// host is the part of the provider in the network of nodes: it listens for
// peers at the address it serves on.
func (c serveCmd) host(s server) (*tasks.Network, error) {
	if c.NoDHT {
		if len(c.Listen)+len(c.Bootstrap) > 0 {
			return nil, program.Usagef("--no-dht leaves nothing for --listen and --bootstrap to do")
		}
		return nil, nil
	}
	if err := c.check("--"); err != nil {
		return nil, program.Usagef("%w", err)
	}
	bind, err := netip.ParseAddr(strings.Trim(c.Bind, "[]"))
	if err != nil && len(c.Listen) == 0 {
		return nil, program.Usagef("--bind %q is a name: say with --listen where to listen for peers, or --no-dht", c.Bind)
	}
	n := tasks.NewNetwork(peer.Config{Identity: s.id, Listen: c.Listen, Bind: bind, Bootstrap: c.Bootstrap, Agent: agent()}, s.problems)
	n.Nearby, n.Must = !c.NoMDNS, len(c.Listen)+len(c.Bootstrap) > 0
	return n, nil
}

// rootPath is the root to use: the one named, the folder's own, the node's.
// The folder's own is trusted because the folder is the owner's; a node that
// fetches from here has a root of its own.
func (c serveCmd) rootPath() (string, error) {
	if c.Root != "" {
		return c.Root, nil
	}
	for _, path := range []string{filepath.Join(c.Folder, layout.Root(1)), roots.Default} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no root of trust in %s/root/1.json; name one with --root", c.Folder)
}

// first is the channel and arch for /manifest.json: stable before the others,
// this machine's arch before the other, what is there before what is not.
func first(folder *os.Root, channels, arches []string) (channel, arch string) {
	if own := names.RunningArch(); slices.Contains(arches, own) {
		arches = append([]string{own}, arches...)
	}
	for _, channel := range channels {
		for _, arch := range arches {
			if _, err := folder.Stat(layout.Manifest(channel, arch)); err == nil {
				return channel, arch
			}
		}
	}
	return channels[0], arches[0]
}
