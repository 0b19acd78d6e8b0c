// Package discover looks for nodes on the local network and in the network of
// nodes, asks each for the manifest it has, and lists those whose manifest the
// root vouches for, or one that follows it, newest first and, among equals, the
// one that answered soonest first.
package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/network/lan"
	"phase/appliance/release/fetch"
	"phase/appliance/release/roots"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

const about = "List the nodes on the local network and beyond it, and the releases they offer, verified, newest first."

const (
	// answerTime is how long after the end of looking an answer is waited for.
	answerTime = 5 * time.Second
	// askTime is how long one node may take, so that those that accept and
	// never answer use up no more than their own turn.
	askTime    = 4 * time.Second
	asksAtOnce = 512
)

type commandLine struct {
	Channel string        `type:"channel" short:"c" default:"any" help:"stable, testing, nightly or any (${default})."`
	Arch    string        `type:"arch" short:"A" default:"any" placeholder:"ARCH" help:"x86_64, arm64 or any (${default})."`
	Timeout time.Duration `short:"t" default:"3s" placeholder:"D" help:"How long to look (${default})."`
	reach
	roots.Flag
	JSON bool `name:"json" short:"j" help:"Print one JSON array."`
}

// Node is one verified offer, as --json prints it.
type Node struct {
	Name      string   `json:"name"` // as announced
	Peer      string   `json:"peer"` // as announced; of one found beyond the LAN it was proved
	Channel   string   `json:"channel"`
	Arch      string   `json:"arch"`
	Version   uint64   `json:"version"` // as signed
	Release   string   `json:"release"` // the release's name, as signed
	Digest    string   `json:"digest"`  // of the manifest, "sha256:…"
	URL       string   `json:"url"`     // the base that answered
	URLs      []string `json:"urls"`
	Interface string   `json:"interface"`
	AnswerMS  float64  `json:"answer_ms"`
}

// Run is the program. It ends with 1 when there is no node whose release the
// root vouches for.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var c commandLine
	if _, err := program.Parse("discover", about, &c, args, stdout, stderr); err != nil {
		return err
	}
	if c.Timeout <= 0 || c.Timeout > time.Hour {
		return program.Usagef("--timeout %v is not between 0 and an hour", c.Timeout)
	}
	if err := c.reach.check(); err != nil {
		return err
	}
	// What happens in the network of nodes is for a daemon's log.
	defer program.Quiet(slog.LevelWarn)()
	trusted, err := c.LoadRoots()
	if err != nil {
		return err
	}
	nodes, unreached, err := c.look(ctx, trusted)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := program.PrintJSON(stdout, nodes); err != nil || len(nodes) > 0 {
			return err
		}
		return program.Exit{Code: 1}
	}
	if err := table(stdout, nodes); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	if len(nodes) == 0 {
		return errors.Join(errors.New("no node was found that offers a release which the root vouches for; look longer with --timeout, or see the lines above"), unreached)
	}
	return nil
}

// look asks every node as it is found, so that a slow or hostile one delays no
// other, and returns when the time is over, however many were found. unreached
// says why none may have been found beyond the local network.
func (c *commandLine) look(ctx context.Context, trusted roots.Loaded) (nodes []Node, unreached, err error) {
	one := func(name string) string {
		if name == trust.Any {
			return ""
		}
		return name
	}
	asking, cancel := context.WithTimeout(ctx, c.Timeout+answerTime)
	defer cancel()
	lan := lan.Finder{Channel: one(c.Channel), Arch: one(c.Arch)}
	beyond := c.network(asking, trusted, one(c.Channel), one(c.Arch))
	defer beyond.leave()
	nodes, err = gather(asking, trusted, append(beyond.finders, lan), beyond.ways, c.Timeout)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return nodes, beyond.unreached(), err
}

// offer is a node and the release that it is listed for.
type offer struct {
	Node
	release trust.Verified
}

// gather lists the verified offers of those found, newest first and, among
// equals, the one that answered soonest first.
func gather(ctx context.Context, trusted roots.Loaded, finders []survey.Finder, ways []fetch.Way, timeout time.Duration) ([]Node, error) {
	offers, known, client := make(map[string]offer), walk.New(trusted.Roots[0], trusted.Roots[1:]...), fetch.NewClient(ways...)
	defer client.CloseIdleConnections()
	s := survey.Survey{
		Finders: finders, Once: true, Look: timeout, AtOnce: asksAtOnce, AskTime: askTime,
		Get: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
			return known.Manifest(ctx, client, url, channel, arch)
		},
		Check: func(_ context.Context, _, channel, arch string, envelope []byte) (trust.Verified, error) {
			return known.Last().Verify(envelope, trust.Policy{Channel: channel, Arch: arch, Now: time.Now()})
		},
	}
	err := s.Run(ctx, func(a survey.Answer) {
		if a.Err != nil {
			slog.Warn("left out", "node", name(a), "interface", a.Interface, "source", a.Source,
				"code", string(refusal.CodeOf(a.Err)), "reason", a.Err.Error())
			return
		}
		m := a.Release.Manifest()
		n := Node{
			Name: name(a), Peer: a.Peer, Channel: m.Channel, Arch: m.Arch, Version: m.Version, Release: m.Name,
			Digest: a.Release.Digest().String(), URL: a.URL, URLs: a.URLs, Interface: a.Interface,
			AnswerMS: float64(a.Took.Microseconds()) / 1000,
		}
		// What a node says changes while it is asked: its addresses grow, its
		// version rises. The last word on one interface counts.
		offers[n.Name+"\n"+n.Interface+"\n"+n.URL+"\n"+n.Channel+"\n"+n.Arch] = offer{n, a.Release}
	})
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	nodes := []Node{}
	for _, o := range offers {
		// A root that came later may have taken back the key that signed it.
		if _, err := known.Last().VerifyHeld(o.release.Envelope(), o.Channel, o.Arch); err == nil && !o.twice(offers) {
			nodes = append(nodes, o.Node)
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(a.AnswerMS, b.AnswerMS), cmp.Compare(a.URL, b.URL))
	})
	return nodes, nil
}

// name is how a node is called: as announced, or by its peer id.
func name(a survey.Answer) string {
	if key, err := identity.ParsePeerID(a.Peer); a.Name == "" && err == nil {
		return identity.Name(key)
	}
	return a.Name
}

// twice says whether a node was found on an interface of this machine too, at
// the same address: then that is said of it.
func (o offer) twice(among map[string]offer) bool {
	if o.Interface != "" {
		return false
	}
	for _, other := range among {
		if other.Interface != "" && other.URL == o.URL && other.Channel == o.Channel && other.Arch == o.Arch {
			return true
		}
	}
	return false
}

func table(w io.Writer, nodes []Node) error {
	if len(nodes) == 0 {
		_, err := fmt.Fprintln(w, "[]")
		return err
	}
	rows := [][]string{{"VERSION", "CHANNEL", "ARCH", "NODE", "URL", "ANSWER"}}
	for _, n := range nodes {
		rows = append(rows, []string{strconv.FormatUint(n.Version, 10), n.Channel, n.Arch, n.Name, n.URL,
			ui.Duration(time.Duration(n.AnswerMS * float64(time.Millisecond)))})
	}
	return ui.Table(w, rows)
}
