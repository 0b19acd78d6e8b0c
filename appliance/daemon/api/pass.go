package api

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/names"
	"phase/appliance/base/problem"
	"phase/appliance/base/refusal"
	"phase/appliance/network/releases"
	"phase/appliance/release/layout"
)

const (
	maxPassing = 64 // requests that are passed on at once
	// passStall is how long a peer may send nothing of an answer, or who asked
	// may take nothing of it.
	passStall = 15 * time.Second
)

// What of a request is passed on to a peer, and what of its answer is passed back.
var (
	passedOn   = []string{"Accept-Encoding", "If-Match", "If-None-Match", "If-Range", "Phase-Trial", "Range", "User-Agent"}
	passedBack = []string{"Accept-Ranges", "Cache-Control", "Content-Length", "Content-Range", "Content-Type", "Etag", "Phase-Tries",
		"Repr-Digest", "Retry-After", "X-Artifact-Hash"}
)

// PeerPath is the path on the socket below which a peer's provider answers.
func PeerPath(id string) string { return "/v1/peers/" + id + "/http" }

// pass answers the routes of a peer's provider that /v1/peers/{peer}/http
// stands before: it asks the peer over a stream, and passes the answer back.
func (n *network) pass(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	id := r.PathValue("peer")
	if _, err := identity.ParsePeerID(id); err != nil {
		return bad("%v", err)
	}
	path, err := passedPath(r)
	if err != nil {
		return err
	}
	all := n.found(w)
	if all == nil || !enter(w, &n.passing, maxPassing, "requests to peers are passed on") {
		return nil
	}
	defer n.passing.Add(-1)
	control := http.NewResponseController(w)
	proxy := httputil.ReverseProxy{
		Transport: all.Transport(),
		Rewrite: func(p *httputil.ProxyRequest) {
			u := *p.In.URL
			u.Scheme, u.Host, u.Path, u.RawPath = "http", strings.TrimPrefix(releases.StreamURL(id), "http://"), path, ""
			p.Out.URL, p.Out.Host, p.Out.Body, p.Out.ContentLength = &u, u.Host, nil, 0
			keep(p.Out.Header, passedOn)
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.StatusCode < http.StatusOK {
				return fmt.Errorf("the peer answers with status %d", resp.StatusCode)
			}
			keep(resp.Header, passedBack)
			resp.Body = newPaced(resp.Body, control)
			return nil
		},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			var late net.Error
			status, code := http.StatusBadGateway, refusal.Unreachable
			if errors.As(err, &late) && late.Timeout() {
				status, code = http.StatusGatewayTimeout, refusal.Slow
			}
			problem.WriteCode(w, status, string(code), fmt.Sprintf("asking peer %s: %v", id, err))
		},
	}
	proxy.ServeHTTP(w, r)
	return nil
}

// passedPath is the path at the peer: one of a manifest, an artifact, a blob or
// a root, and nothing else.
func passedPath(r *http.Request) (string, error) {
	_, path, _ := strings.Cut(r.URL.Path, "/http/")
	file := r.PathValue("file")
	switch hex, channel := r.PathValue("digest"), r.PathValue("channel"); {
	case hex != "":
		if _, err := names.ParseDigest("sha256:" + hex); err != nil {
			return "", bad("%v", err)
		}
	case channel != "":
		_, noChannel := names.ParseChannel(channel)
		_, noArch := names.ParseArch(r.PathValue("arch"))
		_, artifact := layout.ArtifactName(file)
		if err := errors.Join(noChannel, noArch); err != nil {
			return "", bad("%v", err)
		}
		if !artifact && file != layout.ManifestFile {
			return "", bad("file: %.40q is neither %s nor an artifact", file, layout.ManifestFile)
		}
	default:
		if _, ok := layout.RootVersion(file); !ok {
			return "", bad("file: %.40q is no root, like 1.json", file)
		}
	}
	return "/" + path, nil
}

// keep leaves of a header what is listed.
func keep(h http.Header, list []string) {
	maps.DeleteFunc(h, func(name string, _ []string) bool { return !slices.Contains(list, name) })
}

// paced is the body of a peer's answer, which ends when nothing comes of it or
// is taken of it for too long.
type paced struct {
	io.ReadCloser
	control *http.ResponseController
	stall   *time.Timer
}

func newPaced(body io.ReadCloser, control *http.ResponseController) *paced {
	return &paced{body, control, time.AfterFunc(passStall, func() { body.Close() })}
}

func (p *paced) Read(b []byte) (int, error) {
	p.stall.Reset(passStall)
	n, err := p.ReadCloser.Read(b)
	p.stall.Stop() // until the next read: what is taken has a deadline of its own
	_ = p.control.SetWriteDeadline(time.Now().Add(passStall))
	return n, err
}

func (p *paced) Close() error {
	p.stall.Stop()
	return p.ReadCloser.Close()
}
