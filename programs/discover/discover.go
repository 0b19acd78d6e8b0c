// Package discover is the command line of package lan: it looks for nodes
// on the local network, asks each over HTTP for the manifest it announces, and
// lists those whose manifest the root vouches for, newest first and, among
// equals, the one that answered soonest first.
package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/network/lan"
	"phase/appliance/release/roots"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

const about = "List the nodes on the local network and the releases they offer, verified, newest first."

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
	roots.Flag
	JSON bool `name:"json" short:"j" help:"Print one JSON array."`
}

// Node is one verified offer, as --json prints it.
type Node struct {
	Name      string   `json:"name"` // as announced
	Peer      string   `json:"peer"` // as announced; proves nothing
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
	root, err := c.LoadRoot()
	if err != nil {
		return err
	}
	nodes, err := c.look(ctx, root)
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
		return errors.New("no node nearby offers a release that the root vouches for; look longer with --timeout, or see the lines above")
	}
	return nil
}

// look asks every node as it is found, so that a slow or hostile one delays no
// other, and returns when the time is over, however many were found.
func (c *commandLine) look(ctx context.Context, root trust.Root) ([]Node, error) {
	var o lan.Finder
	if c.Channel != trust.Any {
		o.Channel = c.Channel
	}
	if c.Arch != trust.Any {
		o.Arch = c.Arch
	}
	asking, cancel := context.WithTimeout(ctx, c.Timeout+answerTime)
	defer cancel()
	nodes, err := gather(asking, root, o, c.Timeout)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nodes, err
}

// gather lists the verified offers of those found, newest first and, among
// equals, the one that answered soonest first.
func gather(ctx context.Context, root trust.Root, finder survey.Finder, timeout time.Duration) ([]Node, error) {
	nodes := make(map[string]Node)
	s := survey.Survey{
		Finders: []survey.Finder{finder}, Once: true, Look: timeout, AtOnce: asksAtOnce, AskTime: askTime,
		Check: func(_ context.Context, _, channel, arch string, envelope []byte) (trust.Verified, error) {
			return root.Verify(envelope, trust.Policy{Channel: channel, Arch: arch, Now: time.Now()})
		},
	}
	err := s.Run(ctx, func(a survey.Answer) {
		if a.Err != nil {
			slog.Warn("left out", "node", a.Name, "interface", a.Interface, "source", a.Source,
				"code", string(refusal.CodeOf(a.Err)), "reason", a.Err.Error())
			return
		}
		m := a.Release.Manifest()
		n := Node{
			Name: a.Name, Peer: a.Peer, Channel: m.Channel, Arch: m.Arch, Version: m.Version, Release: m.Name,
			Digest: a.Release.Digest().String(), URL: a.URL, URLs: a.URLs, Interface: a.Interface,
			AnswerMS: float64(a.Took.Microseconds()) / 1000,
		}
		// What a node says changes while it is asked: its addresses grow, its
		// version rises. The last word on one interface counts.
		nodes[n.Name+"\n"+n.Interface+"\n"+n.URL+"\n"+n.Channel+"\n"+n.Arch] = n
	})
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(nodes), func(a, b Node) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(a.AnswerMS, b.AnswerMS), cmp.Compare(a.URL, b.URL))
	}), nil
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
