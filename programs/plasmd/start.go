package plasmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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
	"phase/appliance/release/roots"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
)

// startCmd is the daemon. Init on a node says with flags what a configuration
// says on a laptop.
type startCmd struct {
	Config string `placeholder:"F" help:"The configuration (default: where init writes it, if it is there)."`
	HTTP   string `name:"http" placeholder:"ADDR" help:"Serve HTTP on this address too, like [::]:8080."`
	Socket string `placeholder:"PATH" help:"The unix socket for jobs."`
	State  string `default:"/run/phase" placeholder:"DIR" help:"Where the programs of a node meet (${default})."`
	Data   string `placeholder:"DIR" help:"Where identity, token and history are kept."`
	Root   string `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root that the release held must verify under (${default})."`
}

// modePrivate is phase.mode=private: nothing that lets the node be told from
// another, nothing announced, nobody but the machine itself answered.
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
	kept := api.NewLog(log, time.Now)
	slog.SetDefault(slog.New(program.NewHandler(kept)))
	s := &server{log: kept, address: c.HTTP, stateDir: c.State, announce: c.HTTP != "", channel: "stable", arch: names.RunningArch()}
	var boot statefile.Boot
	err = statefile.Read(c.State, statefile.BootFile, &boot)
	node := !errors.Is(err, fs.ErrNotExist) // else a laptop or a server
	if node && err != nil {
		s.problem(err)
	}
	if boot.Mode == modePrivate {
		s.announce = false
		c.Data = ""
		if s.address, err = onLoopback(c.HTTP); err != nil {
			return err
		}
	} else if c.Data == "" {
		if c.Data, err = dataDir(); err != nil {
			return err
		}
	}
	if c.Socket == "" {
		if c.Socket, err = socketPath(); err != nil {
			return err
		}
	}
	// Whoever listens there already is not to be disturbed by anything below.
	if s.local, err = api.Listen(c.Socket, or(conf.SocketGroup, "")); err != nil {
		return err
	}
	defer s.local.Close() // by the server, when it comes to that
	token, err := c.keys(s, node)
	if err != nil {
		return err
	}
	end, err := c.compute(s, conf, kept)
	if err != nil {
		return err
	}
	s.localV1 = api.Socket(s.api)
	if c.HTTP != "" {
		if s.v1, err = api.Handler(s.api, token); err != nil {
			return errors.Join(err, end())
		}
		// Whoever reads the console owns the machine; the log is not the console.
		fmt.Fprintf(log, "token %s\n", token)
	}
	held, err := c.held(s, boot.Held)
	s.fill = func(ctx context.Context, into *store.Store) (func(context.Context), error) {
		if err != nil {
			return nil, err
		}
		if held == nil {
			return nil, nil // nothing was promised: a node that only computes
		}
		into.AddRoot(held.root)
		return nil, into.Add(ctx, held.release, held.sources)
	}
	return errors.Join(s.run(ctx), end())
}

// keys gives the node its identity and its owner's token. What cannot be kept
// makes a node another one until its next start, and it says so; it does not
// make it none, as nobody is there to put it right. On a laptop somebody is, and
// whoever pinned the identity is not to meet another.
func (c startCmd) keys(s *server, node bool) (token string, err error) {
	if c.Data != "" {
		err := os.MkdirAll(c.Data, 0o700)
		if err == nil {
			s.id, err = identity.Load(c.Data)
		}
		if err == nil {
			token, err = keptToken(c.Data)
		}
		if err != nil && !node {
			return "", err
		}
		if err != nil {
			s.problem(fmt.Errorf("%w; what could not be kept is new until the next start", err))
		}
	}
	if !s.id.Valid() {
		// The system's randomness does not fail: the program ends instead.
		s.id, _ = identity.Ephemeral(rand.Reader)
	}
	if token == "" {
		token = newToken()
	}
	fmt.Fprintf(s.log, "peer %s\n", s.id.PeerID())
	return token, nil
}

// heldRelease is the running release and where its bytes are.
type heldRelease struct {
	root    trust.Root
	release trust.Verified
	sources map[string]store.Source
}

// held verifies the manifest of the release the node booted from; nil when it
// booted from none. Its artifacts are hashed later.
func (c startCmd) held(s *server, where *statefile.Held) (*heldRelease, error) {
	if where == nil {
		return nil, nil
	}
	root, err := roots.LoadNamed(c.Root)
	if err != nil {
		return nil, err
	}
	data, err := statefile.ReadCapped(where.Manifest, envelope.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of the running release: %w", err)
	}
	v, err := root.VerifyHeld(data, trust.Any, trust.Any)
	if err != nil {
		return nil, fmt.Errorf("verifying the running release: %w", err)
	}
	h := &heldRelease{root: root, release: v, sources: map[string]store.Source{}}
	for name, path := range where.Artifacts {
		h.sources[name] = store.File(path)
	}
	m := v.Manifest()
	s.channel, s.arch, s.running = m.Channel, m.Arch, m.Version
	return h, nil
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

const (
	tokenFile  = "token"
	tokenBytes = 32
)

func newToken() string {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // it never fails: crypto/rand.Read ends the program instead
	return hex.EncodeToString(b)
}

// keptToken reads the owner's token, or makes it. One that is torn, or that
// others could read, is replaced: a token is no identity.
func keptToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0 && info.Size() < 4096 {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		token := strings.TrimSpace(string(data))
		if raw, err := hex.DecodeString(token); err == nil && len(raw) == tokenBytes {
			return token, nil
		}
	}
	token := newToken()
	f, err := os.CreateTemp(dir, ".token-") // mode 0600
	if err != nil {
		return "", fmt.Errorf("keeping the token: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(token + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir) // printed is promised: a power cut may not take it back
	}
	if err != nil {
		return "", fmt.Errorf("keeping the token: %w", err)
	}
	return token, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
