package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/statefile"
	"phase/qemu"
)

// Node is a machine of a lab, with its console kept in a file.
type Node struct {
	*qemu.Machine
	log *os.File
}

// Start powers a machine on. Its console goes to logs/<name>.log.
func Start(ctx context.Context, logs string, cfg qemu.Config) (*Node, error) {
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(logs, cfg.Name+".log"))
	if err != nil {
		return nil, err
	}
	cfg.Console = log
	m, err := qemu.Start(ctx, cfg)
	if err != nil {
		log.Close()
		return nil, err
	}
	return &Node{m, log}, nil
}

// URL is the node's HTTP address on its first segment: http://[fe80::…]:8080,
// without a zone. A node in private mode has another address, see
// qemu.Port.Addrs.
func (n *Node) URL() string { return "http://" + net.JoinHostPort(n.Addr().String(), "8080") }

// HTTPClient reaches the node from the observer of its first segment.
func (n *Node) HTTPClient() *http.Client { return n.Config().NICs[0].Segment.HTTPClient() }

// Close powers the machine off at once and closes its log.
func (n *Node) Close() error {
	err := n.Machine.Close()
	if e := n.log.Close(); err == nil {
		err = e
	}
	return err
}

// Lines a node writes on its console; tests wait for them.
const (
	LinePeer    = `plasmd: peer (12D3KooW\S+)`
	LineToken   = `plasmd: token (\S+)`
	LineServing = `plasmd: serving http on`
	LineFound   = `update: found version (\d+) `
	LineRefused = `update: .*refused (\S+): (.*) \((\w+)\)`
	LineFetched = `update: fetched and verified version (\d+) in (.+)`
	// LineJump is of update, or of kexec when the stub takes a release of its store.
	LineJump = `(?:update: jumping into|kexec: loaded) version (\d+)`
	// LineConnected is followed by the peer id, and has the path and the address.
	LineConnected = `plasmd: network event=connected peer=`
	LineUp        = `init: Phase (.+) \(version (\d+), \w+, \w+\), mode (\w+), booted from (\w+)`
)

// JumpInto is the line of a jump into one version.
func JumpInto(version uint64) string {
	return strings.Replace(LineJump, `(\d+)`, strconv.FormatUint(version, 10)+`\b`, 1)
}

// Begin stands for the time before the first power on.
var Begin = qemu.Event{Index: -1}

// Line waits for a console line after the event given, and returns what the
// groups of the pattern matched.
func (n *Node) Line(ctx context.Context, after qemu.Event, pattern string) ([]string, qemu.Event, error) {
	e, err := n.Console.WaitAfter(ctx, after, pattern)
	if err != nil {
		return nil, e, fmt.Errorf("%s: %w", n.Name(), err)
	}
	return regexp.MustCompile(pattern).FindStringSubmatch(e.Text)[1:], e, nil
}

// Up waits until the node, after the event given (a power on, a jump), runs
// release version as a whole node: it answers HTTP and has checked and serves
// the bytes it runs.
func (n *Node) Up(ctx context.Context, after qemu.Event, version uint64) (Identity, error) {
	var id Identity
	for _, want := range []struct {
		pattern string
		into    *string
	}{
		{fmt.Sprintf(`init: Phase .* \(version (%d), `, version), new(string)},
		{LineServing, new(string)},
		{LinePeer, &id.Peer},
		{LineToken, &id.Token},
		{fmt.Sprintf(`plasmd: holds release \S+ version %d (sha256:[0-9a-f]{64})`, version), &id.Digest},
	} {
		groups, _, err := n.Line(ctx, after, want.pattern)
		if err != nil {
			return id, err
		}
		if len(groups) > 0 {
			*want.into = groups[0]
		}
	}
	return id, nil
}

// Identity is what a node says of itself on its console: its peer id, the
// token its owner may use, and the digest of the release it runs and serves.
type Identity struct{ Peer, Token, Digest string }

// Status is what tests read of GET /status.
type Status struct {
	Channel string `json:"channel"`
	Arch    string `json:"arch"`
	Peer    string `json:"peer_id"`
	Release struct {
		Version uint64 `json:"version"`
		Digest  string `json:"digest"`
	} `json:"release"`
	Mode           string           `json:"mode"`
	BootedFrom     string           `json:"booted_from"`
	OptionsUnknown []string         `json:"options_unknown"`
	Problems       []string         `json:"problems"`
	Watchdog       string           `json:"watchdog"`
	Sandbox        []string         `json:"sandbox"`
	Update         statefile.Update `json:"update"`
	Health         struct {
		Status string `json:"status"`
	} `json:"health"`
	Network struct {
		Addresses    []string              `json:"addresses"`     // multiaddrs, with the peer id
		Peers        int                   `json:"peers"`         // connected
		RoutingTable int                   `json:"routing_table"` // peers in the DHT's table
		Interfaces   []statefile.Interface `json:"interfaces"`
	} `json:"network"`
}

// Status asks the node.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var s Status
	data, err := n.Get(ctx, "/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// Get returns the body of a 200 answer of at most 64 MiB.
func (n *Node) Get(ctx context.Context, path string) ([]byte, error) {
	return n.ask(ctx, http.MethodGet, path, nil, nil)
}

// ask sends a request and returns the body of a 200 answer.
func (n *Node) ask(ctx context.Context, method, path string, header http.Header, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.URL()+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := n.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %.1000s", method, path, resp.Status, data)
	}
	return data, nil
}

func (n *Node) client() *http.Client { return patient(n.Config().NICs[0].Segment) }

// patient reaches a node as soon as it can be reached, which may be some time
// after its console says that it serves: only then its network comes up. A stack
// that hears nothing from an address for three seconds says that there is no
// way to it.
func patient(s *qemu.Segment) *http.Client {
	dial := s.Dial
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		for {
			c, err := dial(ctx, network, addr)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}}}
}

// Metric is a figure of GET /metrics that has no labels.
func (n *Node) Metric(ctx context.Context, name string) (float64, error) {
	data, err := n.Get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(data)
	if m == nil {
		return 0, fmt.Errorf("%s: /metrics has no %s", n.Name(), name)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
