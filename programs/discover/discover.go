// Package discover is the command line of package nearby: it looks for nodes
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
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/refusal"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/network/lan"
	"phase/appliance/release/fetch"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
)

const about = "List the nodes on the local network and the releases they offer, verified, newest first."

// Bounds on what a segment full of strangers can cost.
const (
	// answerTime is how long after the end of looking an answer is waited for.
	answerTime = 5 * time.Second
	// askTime is how long one node may take, so that those who accept and
	// never answer use up no more than their own turn.
	askTime    = 4 * time.Second
	asksAtOnce = 512  // a question costs little, however long it stays open
	maxAsks    = 4096 // in one run
	// Of these one source gets no more than its share, so that whoever
	// announces much and answers nothing holds up only itself.
	sourceAtOnce = 4
	sourceAsks   = 64
)

type commandLine struct {
	Channel string        `short:"c" default:"any" help:"stable, testing, nightly or any (${default})."`
	Arch    string        `short:"A" default:"any" placeholder:"ARCH" help:"x86_64, arm64 or any (${default})."`
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
	if err := c.check(); err != nil {
		return err
	}
	root, err := c.LoadRoot()
	if err != nil {
		return err
	}
	nodes, err := c.look(ctx, root)
	if err != nil {
		return err
	}
	if err := c.print(stdout, nodes); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	if len(nodes) == 0 {
		if !c.JSON {
			return errors.New("no node nearby offers a release that the root vouches for; look longer with --timeout, or see the lines above")
		}
		return program.Exit{Code: 1}
	}
	return nil
}

func (c *commandLine) check() (err error) {
	if c.Channel != trust.Any {
		if c.Channel, err = names.ParseChannel(c.Channel); err != nil {
			return program.Usagef("--channel: %w", err)
		}
	}
	if c.Arch != trust.Any {
		if c.Arch, err = names.ParseArch(c.Arch); err != nil {
			return program.Usagef("--arch: %w", err)
		}
	}
	if c.Timeout <= 0 || c.Timeout > time.Hour {
		return program.Usagef("--timeout %v is not between 0 and an hour", c.Timeout)
	}
	return nil
}

// look asks every node as it is found, so that a slow or hostile one delays
// nobody, and returns when the time is over, however many were found.
func (c *commandLine) look(ctx context.Context, root trust.Root) ([]Node, error) {
	asking, cancel := context.WithTimeout(ctx, c.Timeout+answerTime)
	defer cancel()
	looking, stop := context.WithTimeout(ctx, c.Timeout)
	defer stop()
	o := lan.BrowseOptions{Log: slog.Default()}
	if c.Channel != trust.Any {
		o.Channel = c.Channel
	}
	if c.Arch != trust.Any {
		o.Arch = c.Arch
	}
	found, err := lan.Browse(looking, o)
	if err != nil {
		return nil, err
	}
	nodes := gather(asking, root, found, stop)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nodes, nil
}

// gather asks whoever is found until all have answered or ctx ends; stop ends
// the looking when there is more than can be asked.
func gather(ctx context.Context, root trust.Root, found <-chan lan.Found, stop func()) []Node {
	client := fetch.NewClient()
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	nodes := make(map[string]Node)
	turns := make(chan struct{}, asksAtOnce)
	type source struct {
		turns chan struct{}
		asks  int
	}
	sources := make(map[string]*source)
	var asks sync.WaitGroup
	count := 0
	for f := range found {
		by := f.Interface + " " + f.Source.String()
		from := sources[by]
		if from == nil {
			from = &source{turns: make(chan struct{}, sourceAtOnce)}
			sources[by] = from
		}
		if from.asks++; from.asks > sourceAsks {
			if from.asks == sourceAsks+1 {
				slog.Warn("too many announcements of one sender: the rest is left out", "interface", f.Interface, "source", f.Source.String(), "asked", sourceAsks)
			}
			continue
		}
		if count++; count > maxAsks {
			slog.Warn("too many announcements: the rest is left out", "asked", maxAsks)
			stop()
			break
		}
		asks.Go(func() {
			for _, turn := range []chan struct{}{from.turns, turns} {
				select {
				case turn <- struct{}{}:
					defer func() { <-turn }()
				case <-ctx.Done():
					return
				}
			}
			one, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			n, err := ask(one, client, root, f)
			if err != nil {
				slog.Warn("left out", "node", f.Instance, "interface", f.Interface, "source", f.Source.String(),
					"code", string(refusal.CodeOf(err)), "reason", err.Error())
				return
			}
			mu.Lock()
			defer mu.Unlock()
			// What a node says changes while it is asked: its addresses grow,
			// its version rises. The last word on one interface counts.
			nodes[n.Name+"\n"+n.Interface+"\n"+n.URL+"\n"+n.Channel+"\n"+n.Arch] = n
		})
	}
	asks.Wait()
	list := make([]Node, 0, len(nodes))
	for _, n := range nodes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Node) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(a.AnswerMS, b.AnswerMS), cmp.Compare(a.URL, b.URL))
	})
	return list
}

// ask takes the first of a node's addresses that answers.
func ask(ctx context.Context, client *http.Client, root trust.Root, f lan.Found) (Node, error) {
	channel, err := names.ParseChannel(f.Channel)
	if err != nil {
		return Node{}, refusal.New(refusal.Channel, "it announces %v", err)
	}
	arch, err := names.ParseArch(f.Arch)
	if err != nil {
		return Node{}, refusal.New(refusal.Arch, "it announces %v", err)
	}
	var last error
	for _, base := range f.URLs {
		began := time.Now()
		data, err := fetch.Manifest(ctx, client, base, channel, arch)
		if err != nil {
			last = err
			continue
		}
		took := time.Since(began)
		v, err := root.Verify(data, trust.Policy{Channel: channel, Arch: arch, Now: time.Now()})
		if err != nil {
			return Node{}, err
		}
		m := v.Manifest()
		return Node{
			Name: f.Instance, Peer: f.Peer, Channel: m.Channel, Arch: m.Arch, Version: m.Version, Release: m.Name,
			Digest: v.Digest().String(), URL: base, URLs: f.URLs, Interface: f.Interface,
			AnswerMS: float64(took.Microseconds()) / 1000,
		}, nil
	}
	return Node{}, last
}

func (c *commandLine) print(w io.Writer, nodes []Node) error {
	if c.JSON {
		data, err := strictjson.MarshalIndent(nodes)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
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
