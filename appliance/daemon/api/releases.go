package api

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/problem"
	"phase/appliance/base/strictjson"
	"phase/appliance/network/releases"
	"phase/appliance/release/survey"
)

const (
	maxLookers = 16       // streams of found releases at once
	maxFound   = 64 << 10 // bytes of one line
)

// network are the routes that the socket alone has: what the node finds in the
// network of nodes, and the way to it, for the programs of this machine.
type network struct {
	Config
	lookers, passing atomic.Int32
}

func (n *network) routes() map[string]methods {
	return map[string]methods{
		"/v1/releases": {http.MethodGet: n.releases},
		"/v1/drain":    {http.MethodPost: n.drain, http.MethodDelete: n.undrain},
		"/v1/peers/{peer}/http/{channel}/{arch}/{file}": {http.MethodGet: n.pass},
		"/v1/peers/{peer}/http/blobs/sha256/{digest}":   {http.MethodGet: n.pass},
		"/v1/peers/{peer}/http/root/{file}":             {http.MethodGet: n.pass},
	}
}

// enter counts one more at a time, and says whether there was room; it has
// answered when there was none.
func enter(w http.ResponseWriter, at *atomic.Int32, most int32, what string) bool {
	if at.Add(1) <= most {
		return true
	}
	at.Add(-1)
	w.Header().Set("Retry-After", "1")
	problem.Write(w, http.StatusServiceUnavailable, fmt.Sprintf("%d %s already", most, what))
	return false
}

// Found is one line of the answer of GET /v1/releases: a peer that has a release
// of the node's own fleet, as its record proves.
type Found struct {
	Peer    string   `json:"peer"`
	Channel string   `json:"channel"`
	Arch    string   `json:"arch"`
	Version uint64   `json:"version"`
	Source  string   `json:"source"` // the address it is connected from, or "peer" and its id
	URLs    []string `json:"urls"`   // base URLs to ask, in the order to try; the last is by way of this daemon
}

// Announcement is what was found, for a survey.
func (f Found) Announcement() survey.Announcement {
	return survey.Announcement{
		Key: "dht " + f.Peer + " " + f.Channel + " " + f.Arch, Source: f.Source, URLs: f.URLs,
		Channel: f.Channel, Arch: f.Arch, Version: f.Version, Peer: f.Peer,
	}
}

// found are the releases of other nodes; nil when the answer was given.
func (n *network) found(w http.ResponseWriter) *releases.Releases {
	if n.Releases == nil {
		problem.Write(w, http.StatusNotFound, "this node has no part in the network of nodes: it was started with --network off")
		return nil
	}
	all := n.Releases()
	if all == nil {
		w.Header().Set("Retry-After", "1")
		problem.Write(w, http.StatusServiceUnavailable, "the node is not in the network of nodes yet")
	}
	return all
}

// releases answers GET /v1/releases.
func (n *network) releases(w http.ResponseWriter, r *http.Request) error {
	query, err := parameters(r, "channel", "arch")
	if err != nil {
		return err
	}
	channel, arch := query.Get("channel"), query.Get("arch")
	if _, err := names.ParseChannel(channel); query.Has("channel") && err != nil {
		return bad("%v", err)
	}
	if _, err := names.ParseArch(arch); query.Has("arch") && err != nil {
		return bad("%v", err)
	}
	all := n.found(w)
	if all == nil {
		return nil
	}
	if !enter(w, &n.lookers, maxLookers, "look for releases by this daemon") {
		return nil
	}
	defer n.lookers.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	list, err := releases.Finder{Releases: all, Channel: channel, Arch: arch}.Find(ctx)
	if err != nil {
		problem.Write(w, http.StatusNotFound, err.Error())
		return nil
	}
	w.Header().Set("Content-Type", streamType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	if err := control.Flush(); err != nil || r.Method == http.MethodHead {
		return nil
	}
	for a := range list {
		line, err := strictjson.Marshal(Found{a.Peer, a.Channel, a.Arch, a.Version, a.Source, a.URLs})
		if err != nil {
			return nil // what has begun cannot become another answer
		}
		_ = control.SetWriteDeadline(time.Now().Add(cmp.Or(n.Patience, defaultPatience)))
		if _, err := w.Write(append(line, '\n')); err != nil || control.Flush() != nil {
			return nil // the requester has left
		}
	}
	return nil
}

// Releases hands each release that the daemon finds to each, on any channel and
// for any arch where those are "", until ctx ends, each returns false, or the
// daemon ends. Nothing of it is verified by the caller yet.
func (c *Client) Releases(ctx context.Context, channel, arch string, each func(Found) bool) error {
	query := url.Values{}
	for name, value := range map[string]string{"channel": channel, "arch": arch} {
		if value != "" {
			query.Set(name, value)
		}
	}
	resp, err := c.ask(ctx, http.MethodGet, "/v1/releases?"+query.Encode(), "", streamType, http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxFound)
	for lines.Scan() {
		var f Found
		if err := strictjson.Unmarshal(lines.Bytes(), &f); err != nil {
			return fmt.Errorf("reading the daemon's answer: %w", err)
		}
		if !each(f) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}
