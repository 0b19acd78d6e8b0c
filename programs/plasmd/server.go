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
	"phase/appliance/daemon/status"
	"phase/appliance/daemon/tasks"
	"phase/appliance/network/lan"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
)

// drainTime is how long requests at work may go on after the end of the
// program was asked for, and of jobs when they are run; init waits a little
// longer before it kills.
const drainTime = 2 * time.Second

// server is what start and serve tell of the provider they are.
type server struct {
	id            identity.Identity
	channel, arch string // of the release at /manifest.json
	running       uint64 // version of the release that runs; 0 for none
	stateDir      string // "" for none
	address       string // to listen on; "" for no HTTP
	announce      bool
	source        tasks.Source
	problems      *tasks.Problems
	log           io.Writer
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
}

// run puts the parts together and runs them until ctx ends, when it says
// goodbye and drains.
func (s server) run(ctx context.Context, j jobs) error {
	held := store.New()
	holding := tasks.NewHolding(held, s.source, s.log)
	board := status.New(status.Config{
		Name: s.id.Name(), PeerID: s.id.PeerID(), Program: program.Version, Version: s.running, Channel: s.channel, Arch: s.arch,
		Store: held, Held: holding.Err, Problems: func() []string { return append(s.problems.List(), holding.Problems()...) },
		Sandbox: j.sandbox, Dir: s.stateDir, Now: time.Now,
	})
	handler := func(v1 http.Handler) http.Handler {
		return board.Count(provide.Handler(provide.Config{
			Store: held, Channel: s.channel, Arch: s.arch, Pages: board.Pages(), V1: v1, Loading: holding.Loading,
		}))
	}
	var serving, listening tasks.Row
	var announcing, queue, compiler tasks.Task
	if s.address != "" {
		l, err := tasks.Listen(s.address)
		if err != nil {
			return err
		}
		serving = tasks.Row{Name: "serving http on " + l.Addr().String(), Task: tasks.HTTP(l, handler(j.v1), j.drain+drainTime)}
		fmt.Fprintln(s.log, serving.Name)
		if s.announce {
			as := lan.Config{Name: s.id.Name(), Port: tasks.Port(l), Peer: s.id.PeerID()}
			announcing = tasks.Announcing(as, held, s.channel, s.arch, s.problems)
		}
	}
	if j.runs != nil {
		listening = tasks.Row{Name: "listening on " + j.socket.Addr().String(), Task: tasks.HTTP(j.socket, handler(j.local), j.drain+drainTime)}
		fmt.Fprintln(s.log, listening.Name)
		queue, compiler = tasks.Queue(j.runs, j.drain), tasks.Once(j.warm)
	}
	return tasks.Run(ctx, []tasks.Row{
		serving,
		listening,
		{Name: "running jobs", Task: queue},
		{Name: "hashing what is held", Task: holding},
		{Name: "announcing it", Task: announcing, After: holding},
		{Name: "getting ready for jobs", Task: compiler, After: holding},
	})
}
