package plasmd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/config"
	"phase/appliance/daemon/journal"
	"phase/appliance/daemon/tasks"
	"phase/appliance/machine/settings"
	"phase/appliance/machine/walls"
	"phase/appliance/network/capability"
	"phase/appliance/release/roots"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
)

// startCmd is the daemon. Init on a node says with flags what a configuration
// says on a laptop.
type startCmd struct {
	Config  string `placeholder:"F" help:"The configuration (default: where init writes it, if it is there)."`
	HTTP    string `name:"http" placeholder:"ADDR" help:"Serve HTTP on this address too, like [::]:8080."`
	Socket  string `placeholder:"PATH" help:"The unix socket for jobs."`
	State   string `default:"/run/phase" placeholder:"DIR" help:"Where the programs of a node meet (${default})."`
	Data    string `placeholder:"DIR" help:"Where identity, token and history are kept."`
	Root    string `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root that the release held must verify under (${default})."`
	Store   string `default:"/perm/phase/store" placeholder:"DIR" help:"The store of a node, whose good releases are served beside the one that runs (${default})."`
	Confine bool   `help:"Build walls around the daemon: it reads the folders of a node or a server, writes its own, and makes no system call that changes the machine."`
	Syslog  string `placeholder:"URL" help:"Send each line of the log to this syslog server too: udp://HOST:PORT or tcp://HOST:PORT."`
	// KernelLog is how init hands on what plasmd may not open.
	KernelLog int `placeholder:"FD" help:"The descriptor of the kernel's log, open for reading, with the lines of the other programs of a node."`
	networkFlags
}

// modePrivate is phase.mode=private: no lasting identity, nothing announced, and
// answers to the machine itself alone.
const modePrivate = "private"

func (c startCmd) run(ctx context.Context, log io.Writer) error {
	if c.HTTP != "" {
		if err := config.CheckAddress(c.HTTP); err != nil {
			return program.Usagef("--http: %w", err)
		}
	}
	conf, err := c.configure()
	if err != nil {
		return err
	}
	kernelLog := c.kernelLog() // before a process is started that would have it too
	kept := journal.NewLog(log, time.Now)
	defer context.AfterFunc(ctx, kept.End)()
	slog.SetDefault(slog.New(program.NewHandler(kept)))
	s := server{
		log: kept, problems: tasks.NewProblems(kept), stateDir: c.State,
		channel: "stable", arch: names.RunningArch(),
	}
	var boot statefile.Boot
	err = statefile.Read(c.State, statefile.BootFile, &boot)
	node := !errors.Is(err, fs.ErrNotExist) // else a laptop or a server
	if node && err != nil {
		s.problems.Add(err)
	}
	s.node, s.admins = node, c.admins()
	if err := c.fill(conf.Network, boot.Mode); err != nil {
		return err
	}
	if err := c.place(&s); err != nil {
		return err
	}
	to, err := c.syslogServer(s.private, or(conf.Log.Syslog, ""))
	if err != nil {
		return err
	}
	if c.Confine {
		if err := c.confine(&s); err != nil {
			return err
		}
	}
	// A daemon that listens there already is not to be disturbed by anything below.
	socket, err := api.Listen(c.Socket, or(conf.SocketGroup, ""))
	if err != nil {
		return err
	}
	defer socket.Close() // by the server, when it comes to that
	var token string
	if s.id, token, err = c.keys(s, node); err != nil {
		return err
	}
	s.bundle = &bundle{log: kept, secrets: ownSecrets(token, c.Data), stateDir: c.State, data: c.Data, node: node, conf: conf, started: time.Now()}
	s.giveLog(kept, to, kernelLog)
	s.network = c.host(s, conf.Network.Block, c.Data)
	trusted, err := c.trust(&s)
	c.hold(&s, boot.Held, trusted, err)
	j, end, err := c.compute(s, conf, kept, token)
	if err != nil {
		return err
	}
	j.socket = socket
	if c.HTTP != "" {
		// A reader of the console owns the machine; the log is not the console.
		fmt.Fprintf(log, "token %s\n", token)
	}
	return errors.Join(s.run(ctx, j), end())
}

// admins are who may give this node orders about its updates; nobody, when that
// cannot be read.
func (c startCmd) admins() string {
	var options settings.Options
	if _, err := statefile.ReadBoot(c.State, &options); err != nil {
		return settings.Nobody
	}
	return options.Admin
}

// place fills in where the daemon listens and keeps what it keeps.
func (c *startCmd) place(s *server) (err error) {
	s.address = c.HTTP
	s.private = c.Network == modePrivate
	s.announce = !s.private && (c.HTTP != "" || c.Network != modeOff)
	switch {
	case c.Network == modePrivate:
		c.Data = ""
		s.address, err = onLoopback(c.HTTP)
	case c.Data == "":
		c.Data, err = dataDir()
	}
	if err == nil && c.Socket == "" {
		c.Socket, err = socketPath()
	}
	return err
}

// readable are the folders that a daemon behind walls may read: those of a node, and
// of a server.
var readable = []string{"/etc", "/user", "/usr", "/dev", "/proc", "/sys", "/boot", "/release", "/run", "/perm/phase", "/tmp"}

// confine builds the walls around the daemon, before it reads a byte that comes from
// outside.
func (c startCmd) confine(s *server) error {
	read := append([]string{c.State, filepath.Dir(c.Root), c.Store}, readable...)
	write := []string{filepath.Dir(c.Socket), "/proc", "/sys/fs/cgroup/plasmd"}
	if c.Data != "" {
		if err := os.MkdirAll(c.Data, 0o700); err != nil {
			return err
		}
		write = append(write, c.Data)
	}
	built, err := walls.Daemon{Read: read, Write: write, Starts: true}.Confine()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.log, "walls around this daemon: %s\n", strings.Join(built, ", "))
	return nil
}

// keys gives the node its identity and its owner's token. What cannot be kept
// makes a node another one until its next start, and it says so: it goes on, as
// nobody is there to repair it. On a laptop it is an error, as clients that pinned
// the identity must not meet another one.
func (c startCmd) keys(s server, node bool) (id identity.Identity, token string, err error) {
	if c.Data != "" {
		err := os.MkdirAll(c.Data, 0o700)
		if err == nil {
			id, err = identity.Load(c.Data)
		}
		if err == nil {
			token, err = api.LoadToken(c.Data)
		}
		if err != nil && !node {
			return id, "", c.whose(err)
		}
		if err != nil {
			s.problems.Add(fmt.Errorf("%w; what could not be kept is new until the next start", err))
		}
	}
	if !id.Valid() {
		// The system's randomness does not fail: the program ends instead.
		id, _ = identity.Ephemeral(rand.Reader)
	}
	if token == "" {
		token = api.NewToken()
	}
	fmt.Fprintf(s.log, "peer %s\n", id.PeerID())
	return id, token, nil
}

// whose adds to what another user has in the folder how to mend that.
func (c startCmd) whose(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w; %s holds files of another user: start plasmd as that user, make this one the owner (chown -R), or choose another folder with --data", err, c.Data)
}

// hold has the node serve the release it booted from, if it booted from one: its
// manifest is verified now, and its artifacts are hashed later.
func (c startCmd) hold(s *server, where *statefile.Held, trusted roots.Loaded, err error) {
	var v trust.Verified
	switch {
	case where == nil:
		err = nil // what is not held needs no root
	case err == nil:
		v, err = verify(where, trusted.Last())
	}
	if v.Valid() {
		m := v.Manifest()
		s.channel, s.arch, s.running = m.Channel, m.Arch, m.Version
		s.release = capability.Release{Version: int64(m.Version), Digest: v.Digest().String(), Channel: m.Channel}
	}
	kept := &keptReleases{path: c.Store, given: trusted.Known(), running: v.Digest(), served: map[names.Digest]bool{}}
	s.source.Fill = func(ctx context.Context, into *store.Store, _ func([]store.Problem)) error {
		if err != nil || where == nil {
			return err
		}
		kept.into = into
		for _, r := range trusted.Known() {
			into.AddRoot(r)
		}
		sources := map[string]store.Source{}
		for name, path := range where.Artifacts {
			sources[name] = store.File(path)
		}
		return into.Add(ctx, v, sources)
	}
	if err == nil && where != nil {
		s.source.Follow = kept.follow
	}
}

// trust loads the roots that releases are verified under, and that name the
// node's fleet. A laptop need not have any; roots that cannot be read are a
// problem, and an error of hold where a release is held.
func (c startCmd) trust(s *server) (roots.Loaded, error) {
	trusted, err := roots.LoadNamed(c.Root)
	s.roots, s.root = trusted.Chain, trusted.Last()
	for _, problem := range trusted.Problems {
		s.problems.Add(problem)
	}
	why := trusted.NoChain
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		why = err
	}
	if why != nil {
		s.problems.Add(fmt.Errorf("%w; no release is found or published beyond the LAN", why))
	}
	return trusted, err
}

// verify reads the manifest of the running release.
func verify(where *statefile.Held, root trust.Root) (v trust.Verified, err error) {
	data, err := statefile.ReadCapped(where.Manifest, envelope.MaxBytes)
	if err != nil {
		return v, fmt.Errorf("reading the manifest of the running release: %w", err)
	}
	if v, err = root.VerifyHeld(data, trust.Any, trust.Any); err != nil {
		err = fmt.Errorf("verifying the running release: %w", err)
	}
	return v, err
}

// onLoopback keeps the port of an address and makes its host the loopback one.
func onLoopback(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("reading the address to serve on: %w", err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return address, nil
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}
