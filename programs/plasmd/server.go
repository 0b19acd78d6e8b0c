package plasmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/forward"
	"phase/appliance/daemon/page"
	"phase/appliance/daemon/status"
	"phase/appliance/daemon/stick"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/capability"
	"phase/appliance/network/lan"
	"phase/appliance/release/provide"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
)

// drainTime is how long requests at work may go on once all else has ended. With
// the time that jobs have before, it is less than init waits before it kills.
const drainTime = 2 * time.Second

// server is what start and serve tell of the provider they are.
type server struct {
	id            identity.Identity
	channel, arch string             // of the release at /manifest.json
	running       uint64             // version of the release that runs; 0 for none
	release       capability.Release // the same, as peers are told of it
	stateDir      string             // "" for none
	address       string             // to listen on; "" for no HTTP
	announce      bool
	private       bool           // nothing is told to others
	node          bool           // a node, and no laptop or server
	admins        string         // phase.admin of a node
	network       *tasks.Network // nil for none
	roots         chain.Chain    // those that are trusted, from version 1 on; the zero Chain for none
	root          trust.Root     // the last that is trusted at the start; the zero Root for none
	source        tasks.Source
	problems      *tasks.Problems
	log           io.Writer
	forward       *forward.Forwarder // nil where the log is sent nowhere
	kernelLog     tasks.Task         // nil where there is none
	bundle        *bundle            // nil where none is made
}

// jobs is what start tells of the jobs it runs; the zero value runs none.
type jobs struct {
	runs    *scheduler.Scheduler
	v1      http.Handler // over HTTP
	socket  net.Listener
	local   http.Handler    // /v1 on the socket
	drain   time.Duration   // how long they may go on after the end was asked for
	sandbox func() []string // the walls around them
	warm    func()          // what need not be done before releases are hashed
	page    *page.Page      // nil for one without jobs
}

// run puts the parts together and runs them until ctx ends, when it says
// goodbye and drains.
func (s server) run(ctx context.Context, j jobs) error {
	held := store.New()
	holding := tasks.NewHolding(held, s.source, s.log)
	board := status.New(status.Config{
		Name: s.id.Name(), PeerID: s.id.PeerID(), Program: program.Version, Version: s.running, Running: s.release.Digest, Channel: s.channel, Arch: s.arch,
		Root: s.root, Store: held, Held: holding.Err, Problems: func() []string { return append(s.problems.List(), holding.Problems()...) },
		Sandbox: j.sandbox, Dir: s.stateDir, Now: time.Now, Network: s.network.Node, Table: s.network.Table,
	})
	shown := j.page
	if shown == nil {
		shown = page.New(page.Config{})
	}
	shown.Report, shown.Running = board.Report, s.release.Digest
	var image http.Handler // nil where no release runs, as on a laptop
	if s.release.Digest != "" {
		image = stick.New(held, s.release.Digest, "/")
	}
	if s.bundle != nil {
		s.bundle.board.Store(board)
	}
	handler := func(v1 http.Handler, a asker) http.Handler {
		return board.Count(provide.Handler(provide.Config{
			Store: held, Channel: s.channel, Arch: s.arch, Pages: a.pages(board, shown, image), V1: v1, Loading: holding.Loading,
		}))
	}
	as := lan.Config{Name: s.id.Name(), Peer: s.id.PeerID(), Fleet: s.roots.Fleet()}
	var serving, listening tasks.Row
	var announcing, queue, compiler tasks.Task
	var drained <-chan struct{}
	if s.address != "" {
		l, err := tasks.Listen(s.address)
		if err != nil {
			return err
		}
		serving = tasks.Row{Name: "serving http on " + l.Addr().String(), Task: tasks.HTTP(l, handler(j.v1, asker{follows: true}), drainTime), Last: true}
		fmt.Fprintln(s.log, serving.Name)
		as.Port = tasks.Port(l)
	}
	if s.announce {
		announcing = tasks.Announcing(as, held, s.channel, s.arch, s.network, s.problems)
	}
	if j.runs != nil {
		listening = tasks.Row{Name: "listening on " + j.socket.Addr().String(), Task: tasks.HTTP(j.socket, handler(j.local, asker{owner: true, follows: true}), j.drain+drainTime)}
		fmt.Fprintln(s.log, listening.Name)
		queue, drained = tasks.Queue(j.runs, j.drain)
		compiler = tasks.Once(j.warm)
	}
	var network tasks.Task // nil for none, which a nil *tasks.Network is not
	if s.network != nil {
		s.network.Config.Metrics = board.Registry()
		s.network.Until = drained
		s.joinDHT(held, func() uint16 { return as.Port }, handler(nil, asker{}), s.private)
		network = s.network
	}
	var forwarding tasks.Row
	if s.forward != nil {
		forwarding = tasks.Row{Name: "sending the log", Task: s.forwarding(board), Last: true}
	}
	return tasks.Run(ctx, []tasks.Row{
		forwarding,
		{Name: "reading the kernel's log", Task: s.kernelLog},
		serving,
		listening,
		{Name: "running jobs", Task: queue},
		{Name: "keeping the page up to date", Task: following(shown)},
		{Name: "hashing what is held", Task: holding},
		{Name: "announcing it", Task: announcing, After: holding},
		{Name: "being a peer of other nodes", Task: network, After: holding},
		{Name: "getting ready for jobs", Task: compiler, After: holding},
		{Name: "watching what expires", Task: tasks.Expiry(board.Endings, s.log), After: holding},
	})
}

// asker is who asks for the pages: the owner of the node or anybody, by a connection
// that may stay open to follow the page, or not.
type asker struct{ owner, follows bool }

func (a asker) pages(board *status.Status, shown *page.Page, image http.Handler) map[string]http.Handler {
	pages := board.Pages(a.owner)
	pages["/"] = shown.Home(pages["/"], a.owner)
	if a.follows {
		pages["/events"] = shown.Events(a.owner)
	}
	if a.follows && image != nil {
		pages[stick.Path] = image
	}
	return pages
}

// following keeps a page up to date. Its streams end before those who serve wait for
// what is being answered.
func following(p *page.Page) tasks.Task {
	return tasks.New(func(ctx context.Context, ready func()) error {
		ready()
		return p.Run(ctx)
	})
}
