package plasmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/compute/runs"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/status"
	"phase/appliance/network/lan"
	"phase/appliance/release/provide"
	"phase/appliance/release/store"
)

const (
	// drainTime is how long requests at work may go on after the end of the
	// program was asked for, and of jobs when they are run; init waits a little
	// longer before it kills.
	drainTime = 2 * time.Second
	// goodbyeTime is how long the announcer gets to take back what it said.
	goodbyeTime = 2 * time.Second
)

// server is what start and serve have in common: a store behind HTTP, filled
// after the first answer can be given, and announced once it is filled.
type server struct {
	id            identity.Identity
	channel, arch string // of the release at /manifest.json
	running       uint64 // version of the release that runs; 0 for none
	stateDir      string // "" for none
	address       string // to listen on; "" for no HTTP
	v1            http.Handler
	local         net.Listener // the unix socket, nil for none
	localV1       http.Handler // /v1 on it
	runs          *runs.Runs   // nil where no jobs are run
	api           api.Config
	drain         time.Duration   // how long jobs may go on after the end was asked for
	sandbox       func() []string // the walls around jobs; nil where none are run
	warm          func()          // called once what is held is hashed, for what need not be done before; nil for nothing
	announce      bool
	log           io.Writer
	promise       string // what is wrong when nothing is held; "" when that is fine
	// fill loads the store. It runs beside the HTTP server; when it returns,
	// what can be had at once is in the store, and background, which may be
	// nil, goes on following its source.
	fill func(ctx context.Context, s *store.Store) (background func(context.Context), err error)

	store  *store.Store
	mu     sync.Mutex
	held   error // errLoading, what went wrong, or nil
	said   []string
	folder []store.Problem // as of the last look
}

var errLoading = errors.New("the releases held are still being hashed")

// front is one way in: a listener and what answers on it.
type front struct {
	listener net.Listener
	v1       http.Handler
	said     string
}

// run serves until ctx ends, then says goodbye and drains.
func (s *server) run(ctx context.Context) error {
	var fronts []front
	at := uint16(0)
	if s.address != "" {
		listener, err := listen(s.address)
		if err != nil {
			return err
		}
		at = port(listener)
		fronts = append(fronts, front{listener, s.v1, "serving http on " + listener.Addr().String()})
	}
	if s.local != nil {
		fronts = append(fronts, front{s.local, s.localV1, "listening on " + s.local.Addr().String()})
	}
	s.store, s.held = store.New(), errLoading
	board := status.New(status.Config{
		Name: s.id.Name(), PeerID: s.id.PeerID(), Program: program.Version, Version: s.running, Channel: s.channel, Arch: s.arch,
		Store: s.store, Held: s.holding, Problems: s.problems, Sandbox: s.sandbox, Dir: s.stateDir, Now: time.Now,
	})
	// Its end is the end of the others too.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	served := make([]error, len(fronts))
	for i, f := range fronts {
		handler := provide.Handler(provide.Config{
			Store: s.store, Channel: s.channel, Arch: s.arch, Pages: board.Pages(), V1: f.v1,
			Loading: func() bool { return errors.Is(s.holding(), errLoading) },
		})
		server := provide.NewServer(board.Count(handler))
		server.ConnContext = api.Peer
		tasks.Go(func() {
			defer cancel()
			if err := provide.Serve(ctx, server, f.listener, s.drain+drainTime); err != nil {
				served[i] = fmt.Errorf("%s: %w", f.said, err)
			}
		})
		fmt.Fprintln(s.log, f.said)
	}
	if s.runs != nil {
		tasks.Go(func() {
			<-ctx.Done()
			bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
			defer cancel()
			s.runs.Stop(bound)
		})
	}
	tasks.Go(func() { s.hold(ctx, at) })
	tasks.Wait()
	return errors.Join(served...)
}

// hold fills the store, and then says on the console and the network what it
// holds as that changes.
func (s *server) hold(ctx context.Context, port uint16) {
	background, err := s.fill(ctx, s.store)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.held = err
	s.mu.Unlock()
	if err := s.holding(); err != nil {
		fmt.Fprintf(s.log, "problem: %v\n", err)
	}
	if s.warm != nil {
		s.warm()
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	if background != nil {
		tasks.Go(func() { background(ctx) })
	}
	var announcer *lan.Announcer
	if s.announce {
		announcer, err = lan.Announce(ctx, lan.Config{
			Name: s.id.Name(), Port: port, Peer: s.id.PeerID(),
		})
		if err != nil {
			s.problem(fmt.Errorf("announcing on the network: %w", err))
		}
	}
	told := map[names.Digest]bool{}
	for {
		changed := s.store.Changed()
		s.tell(told)
		if announcer != nil {
			if err := announcer.SetInstances(s.instances()); err != nil {
				s.problem(fmt.Errorf("announcing on the network: %w", err))
			}
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
		}
		break
	}
	if announcer != nil {
		select {
		case <-announcer.Done():
		case <-time.After(goodbyeTime):
		}
	}
}

// tell prints the releases held that have not been printed.
func (s *server) tell(told map[names.Digest]bool) {
	for _, r := range s.store.Releases() {
		if !told[r.Digest()] {
			told[r.Digest()] = true
			m := r.Manifest()
			fmt.Fprintf(s.log, "holds release %s/%s version %d %s\n", m.Channel, m.Arch, m.Version, r.Digest())
		}
	}
}

// instances are the newest of each channel and arch, the one at /manifest.json
// first.
func (s *server) instances() []lan.Instance {
	var list []lan.Instance
	add := func(r store.Release) {
		m := r.Manifest()
		for _, i := range list {
			if i.Channel == m.Channel && i.Arch == m.Arch {
				return
			}
		}
		list = append(list, lan.Instance{Channel: m.Channel, Arch: m.Arch, Version: m.Version})
	}
	if r, ok := s.store.Newest(s.channel, s.arch); ok {
		add(r)
	}
	for _, r := range s.store.Releases() {
		add(r)
	}
	return list
}

// holding says what is wrong with what is held, nil when nothing is.
func (s *server) holding() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		return s.held
	}
	for _, p := range s.folder {
		if p.Held {
			return fmt.Errorf("%s, and what is served is no longer there", p)
		}
	}
	if s.promise != "" && len(s.store.Releases()) == 0 {
		if len(s.folder) > 0 {
			return fmt.Errorf("%s; %s", s.promise, s.folder[0])
		}
		return errors.New(s.promise)
	}
	return nil
}

// most problems that are kept; what is wrong after that many is no news.
const most = 32

// inFolder takes what is wrong in the folder served, in place of what was, and
// prints what is new.
func (s *server) inFolder(problems []store.Problem) {
	problems = problems[:min(len(problems), most)]
	s.mu.Lock()
	known := s.folder
	s.folder = problems
	s.mu.Unlock()
	for _, p := range problems {
		if !slices.ContainsFunc(known, func(k store.Problem) bool { return k.String() == p.String() }) {
			fmt.Fprintf(s.log, "problem: %s\n", ui.Clean(p.String()))
		}
	}
}

// problem prints what is wrong and keeps it for /status.
func (s *server) problem(err error) {
	fmt.Fprintf(s.log, "problem: %v\n", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.said) < most {
		s.said = append(s.said, err.Error())
	}
}

func (s *server) problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append([]string{}, s.said...)
	for _, p := range s.folder {
		all = append(all, p.String())
	}
	return all
}

// listen opens the address to serve on. For "::" the host is left out, which
// means both families, or IPv4 alone where the kernel has no IPv6.
func listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, program.Usagef("%q is not an address to listen on, like [::]:8080: %w", address, err)
	}
	if host == "::" {
		host = ""
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("serving http on %s: another program listens there; stop it, or choose another port", address)
	}
	if err != nil {
		return nil, fmt.Errorf("serving http on %s: %w", address, err)
	}
	return listener, nil
}

func port(l net.Listener) uint16 {
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		return 0
	}
	return at.Port()
}
