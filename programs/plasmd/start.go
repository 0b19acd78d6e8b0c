package plasmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/api"
	"phase/appliance/identity"
	"phase/appliance/job"
	"phase/appliance/release"
	"phase/appliance/state"
	"phase/appliance/store"
	"phase/appliance/trust"
)

// jobQueue is how many jobs may wait while others run.
const jobQueue = 16

type startCmd struct {
	HTTP  string `name:"http" default:"[::]:8080" placeholder:"ADDR" help:"Address to serve HTTP on (${default})."`
	State string `default:"/run/phase" placeholder:"DIR" help:"Where the programs of a node meet (${default})."`
	Data  string `placeholder:"DIR" help:"Where identity and token are kept; without it they are new at each start."`
	Root  string `short:"r" default:"/etc/phase/root.json" placeholder:"FILE" help:"The root that the release held must verify under (${default})."`
}

// modePrivate is phase.mode=private: nothing that lets the node be told from
// another, nothing announced, nobody but the machine itself answered.
const modePrivate = "private"

func (c startCmd) run(ctx context.Context, log io.Writer) error {
	s := &server{log: log, address: c.HTTP, stateDir: c.State, announce: true, channel: "stable", arch: release.RunningArch()}
	var boot state.Boot
	if err := state.Read(c.State, state.BootFile, &boot); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.problem(err)
	}
	if boot.Mode == modePrivate {
		s.announce = false
		c.Data = ""
		var err error
		if s.address, err = onLoopback(c.HTTP); err != nil {
			return err
		}
	}
	if err := c.keys(s); err != nil {
		return err
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
	return s.run(ctx)
}

// keys gives the node its identity and its owner's token. What cannot be kept
// makes the node another one until its next start, and it says so; it does not
// make it none.
func (c startCmd) keys(s *server) error {
	token := ""
	if c.Data != "" {
		err := os.MkdirAll(c.Data, 0o700)
		if err == nil {
			s.id, err = identity.Load(c.Data)
		}
		if err == nil {
			token, err = keptToken(c.Data)
		}
		if err != nil {
			s.problem(fmt.Errorf("%w; what could not be kept is new until the next start", err))
		}
	}
	if !s.id.Valid() {
		id, err := identity.Ephemeral(rand.Reader)
		if err != nil {
			return err
		}
		s.id = id
	}
	if token == "" {
		token = newToken()
	}
	runner := job.NewRunner(s.id, jobQueue)
	pool, err := c.pool(s)
	if err != nil {
		return err
	}
	runner.Pool, s.sandbox = pool, walls(pool)
	v1, err := api.Handler(api.Config{Token: token, Runner: runner})
	if err != nil {
		return err
	}
	s.v1 = v1
	fmt.Fprintf(s.log, "peer %s\n", s.id.PeerID())
	// Whoever reads the console owns the machine.
	fmt.Fprintf(s.log, "token %s\n", token)
	return nil
}

// heldRelease is the running release and where its bytes are.
type heldRelease struct {
	root    trust.Root
	release trust.Verified
	sources map[string]store.Source
}

// held verifies the manifest of the release the node booted from; nil when it
// booted from none. Its artifacts are hashed later.
func (c startCmd) held(s *server, where *state.Held) (*heldRelease, error) {
	if where == nil {
		return nil, nil
	}
	root, err := readRoot(c.Root)
	if err != nil {
		return nil, err
	}
	data, err := readCapped(where.Manifest)
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
