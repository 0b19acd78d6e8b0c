// Package status answers what a node is and does: a report as JSON, a health check,
// and metrics. It reads what the other
// programs of the node have written into the state folder at the moment it is
// asked, so nothing it says is out of date.
package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/base/statefile"
	"phase/appliance/network/dht"
	"phase/appliance/network/peer"
	"phase/appliance/release/store"
	"phase/appliance/release/trust"
)

// Config is what a Status cannot read from elsewhere.
type Config struct {
	// Name and PeerID of the node.
	Name, PeerID string
	// Program is the version of the program itself.
	Program string
	// Version of the release the node runs, known before its bytes are
	// checked, and its digest; 0 and "" when it runs none.
	Version uint64
	Running string
	// Channel and Arch of the node: those of the release it runs, or serves
	// at /manifest.json.
	Channel, Arch string
	// Root is the last root that was trusted at the start; the zero Root for none.
	// Later ones that follow are found in Store.
	Root trust.Root
	// Store is what the node holds.
	Store *store.Store
	// Held says whether the store holds what it should: nil when it does.
	Held func() error
	// Problems of the program itself, in words, may be nil.
	Problems func() []string
	// Sandbox names the walls around jobs that stand on this machine; nil where
	// no jobs are run.
	Sandbox func() []string
	// Network is the node's place in the network of nodes; nil where it has none.
	// It returns nil before it is open.
	Network func() *peer.Node
	// Table is the node's part of the DHT, as Network; may be nil.
	Table func() *dht.DHT
	// Dir is the state folder, "" for none.
	Dir string
	// Now is the clock.
	Now func() time.Time
}

// Status answers for a node. It is safe for use by many at once.
type Status struct {
	Config
	started time.Time
	metrics *metrics
}

// New returns the Status of a node that starts now.
func New(c Config) *Status {
	s := &Status{Config: c, started: c.Now()}
	s.metrics = newMetrics(s)
	return s
}

// Pages are the handlers of "/", "/health", "/status" and "/metrics", for GET
// and HEAD. Who the peers are is in /status only for those who own the node.
func (s *Status) Pages(owner bool) map[string]http.Handler {
	return map[string]http.Handler{
		"/":       http.HandlerFunc(s.home),
		"/health": http.HandlerFunc(s.health),
		"/status": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			r := s.Report()
			if !owner {
				r.Peers = nil
			}
			writeJSON(w, http.StatusOK, r)
		}),
		"/metrics": s.metrics.handler(),
	}
}

// Info is the answer of "/".
type Info struct {
	Name          string `json:"name"`
	Version       uint64 `json:"version"` // of the release that runs, else of the newest held; 0 without one
	Channel       string `json:"channel"`
	Arch          string `json:"arch"`
	UptimeSeconds int64  `json:"uptime_seconds"`
	PeerID        string `json:"peer_id"`
}

// Health is the answer of "/health": each check is "ok" or says what is wrong.
type Health struct {
	Status string            `json:"status"` // healthy or unhealthy
	Checks map[string]string `json:"checks"`
}

// ReleaseInfo is one release held.
type ReleaseInfo struct {
	Version   uint64                  `json:"version"`
	Digest    string                  `json:"digest"`
	Name      string                  `json:"name"`
	Channel   string                  `json:"channel"`
	Arch      string                  `json:"arch"`
	Created   time.Time               `json:"created"`
	Expires   time.Time               `json:"expires"`
	Artifacts map[string]ArtifactInfo `json:"artifacts"`
}

// ArtifactInfo is one artifact held.
type ArtifactInfo struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Report is the answer of "/status".
type Report struct {
	Info
	Program        string           `json:"program"` // version of the program itself
	Health         Health           `json:"health"`
	Release        *ReleaseInfo     `json:"release"` // that runs; where none does, the newest held
	Releases       []ReleaseInfo    `json:"releases"`
	Root           *RootInfo        `json:"root"`
	Mode           string           `json:"mode"`
	BootedFrom     string           `json:"booted_from"`
	Trial          string           `json:"trial"`
	Boot           []statefile.Step `json:"boot"` // how the machine came up
	OptionsUnknown []string         `json:"options_unknown"`
	Problems       []string         `json:"problems"`
	Watchdog       string           `json:"watchdog"`
	Sandbox        []string         `json:"sandbox"`
	Network        Network          `json:"network"`
	Peers          []peer.Info      `json:"peers,omitempty"` // for those who may know
	Metrics        map[string]int64 `json:"metrics"`
	Update         statefile.Update `json:"update"`
}

// Network is where the node is in the network.
type Network struct {
	Addresses    []string              `json:"addresses"`     // multiaddrs with the peer id
	Reachability string                `json:"reachability"`  // from the internet: public, private or unknown
	Peers        int                   `json:"peers"`         // connected
	RoutingTable int                   `json:"routing_table"` // peers in the DHT's table
	Interfaces   []statefile.Interface `json:"interfaces"`
}

// network is the part of the report about peers.
func (s *Status) network(r *Report) {
	r.Network = Network{Addresses: []string{}, Reachability: string(peer.Unknown), Interfaces: []statefile.Interface{}}
	if s.Network == nil {
		return
	}
	node := s.Network()
	if node == nil {
		return
	}
	r.Peers = node.Peers()
	r.Network.Addresses, r.Network.Reachability, r.Network.Peers = node.Addresses(), string(node.Reachability()), len(r.Peers)
	if s.Table == nil || s.Table() == nil {
		return
	}
	r.Network.RoutingTable = s.Table().Size()
	if problem := s.Table().Problem(); problem != "" {
		r.Problems = append(r.Problems, problem)
	}
}

// release is the one that runs; where none does, the newest that is held.
func (s *Status) release() (store.Release, bool) {
	if s.Running == "" {
		return s.Store.Newest(s.Channel, s.Arch)
	}
	for _, r := range s.Store.Releases() {
		if r.Digest().String() == s.Running {
			return r, true
		}
	}
	return store.Release{}, false
}

// Info says who the node is.
func (s *Status) Info() Info {
	version := s.Version
	if r, ok := s.release(); ok {
		version = r.Manifest().Version
	}
	return Info{
		Name: s.Name, Version: version, Channel: s.Channel, Arch: s.Arch,
		UptimeSeconds: int64(s.Now().Sub(s.started).Seconds()), PeerID: s.PeerID,
	}
}

// Health runs the checks.
func (s *Status) Health() Health {
	h := Health{Status: "healthy", Checks: map[string]string{"store": "ok"}}
	fail := func(check string, err error) {
		h.Status, h.Checks[check] = "unhealthy", err.Error()
	}
	if err := s.Held(); err != nil {
		fail("store", err)
	}
	for _, r := range s.Store.Releases() {
		if name, ok := r.Intact(); !ok {
			m := r.Manifest()
			fail("store", fmt.Errorf("the %s of %s/%s version %d was changed where it lies", name, m.Channel, m.Arch, m.Version))
		}
	}
	if s.Dir != "" {
		h.Checks["state"] = "ok"
		var boot statefile.Boot
		if err := statefile.Read(s.Dir, statefile.BootFile, &boot); err != nil && !errors.Is(err, fs.ErrNotExist) {
			fail("state", err)
		}
	}
	return h
}

// Report gathers everything.
func (s *Status) Report() Report {
	r := Report{
		Info: s.Info(), Program: s.Program, Health: s.Health(), Metrics: s.metrics.sums(),
		Watchdog: "none", Update: statefile.Update{State: "off"},
		Releases: []ReleaseInfo{}, OptionsUnknown: []string{}, Problems: []string{}, Sandbox: []string{}, Boot: []statefile.Step{},
	}
	s.network(&r)
	for _, held := range s.Store.Releases() {
		r.Releases = append(r.Releases, releaseInfo(held))
	}
	if held, ok := s.release(); ok {
		info := releaseInfo(held)
		r.Release = &info
	}
	if s.Sandbox != nil {
		r.Sandbox = append(r.Sandbox, s.Sandbox()...)
	}
	if s.Problems != nil {
		r.Problems = append(r.Problems, s.Problems()...)
	}
	r.Root = s.root()
	r.Problems = append(r.Problems, s.Endings()...)
	var boot statefile.Boot
	if s.read(&r, s.Dir, statefile.BootFile, &boot) {
		r.Mode, r.BootedFrom, r.Trial = boot.Mode, boot.BootedFrom, boot.Trial
		r.Boot = append(r.Boot, boot.Steps...)
		r.OptionsUnknown = append(r.OptionsUnknown, boot.OptionsUnknown...)
		r.Problems = append(r.Problems, boot.Problems...)
		if boot.Watchdog != "" {
			r.Watchdog = boot.Watchdog
		}
	}
	var net statefile.Net
	if s.read(&r, s.Dir, statefile.NetFile, &net) {
		r.Network.Interfaces = append(r.Network.Interfaces, net.Interfaces...)
		r.Problems = append(r.Problems, net.Problems...)
	}
	var update statefile.Update
	if s.read(&r, statefile.UpdateFolder(s.Dir), statefile.UpdateFile, &update) {
		r.Update = update
	}
	if r.Update.History == nil {
		r.Update.History = []statefile.Attempt{}
	}
	return r
}

// read reads a state file, if its producer runs here and has written it.
func (s *Status) read(r *Report, dir, name string, v any) bool {
	if s.Dir == "" {
		return false
	}
	err := statefile.Read(dir, name, v)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problems = append(r.Problems, err.Error())
	}
	return err == nil
}

func releaseInfo(held store.Release) ReleaseInfo {
	m := held.Manifest()
	info := ReleaseInfo{
		Version: m.Version, Digest: held.Digest().String(), Name: m.Name, Channel: m.Channel, Arch: m.Arch,
		Created: m.Created, Expires: m.Expires, Artifacts: map[string]ArtifactInfo{},
	}
	for name, a := range m.Artifacts {
		if _, ok := held.Artifact(name); ok {
			info.Artifacts[name] = ArtifactInfo{a.Size, a.SHA256.String()}
		}
	}
	return info
}

func (s *Status) home(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Info())
}

func (s *Status) health(w http.ResponseWriter, _ *http.Request) {
	h := s.Health()
	code := http.StatusOK
	if h.Status != "healthy" {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, h)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		problem.Write(w, http.StatusInternalServerError, err.Error())
		return
	}
	send(w, code, "application/json", append(body, '\n'))
}

// send answers with what is true at this moment alone.
func send(w http.ResponseWriter, code int, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
