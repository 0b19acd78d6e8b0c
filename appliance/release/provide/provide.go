// Package provide serves the releases in a store over HTTP: an http.Handler that
// gives out manifests exactly as they were signed, artifacts by digest or
// by channel, arch and name, and root documents, with ranges, conditions and
// errors as RFC 9110 and RFC 9457 have them. A request is only ever looked up
// among what the store has hashed beforehand: no path of a request reaches a
// file system, and no request makes the node hash.
package provide

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"phase/appliance/base/names"
	"phase/appliance/base/problem"
	"phase/appliance/release/layout"
	"phase/appliance/release/store"
	"phase/appliance/release/trial/remotetrials"
)

// Config is what a handler serves.
type Config struct {
	Store *store.Store
	// Channel and Arch of the release at /manifest.json.
	Channel, Arch string
	// Loading, if set, says that the store is still being filled: what is not
	// found meanwhile is answered 503 with Retry-After, not 404.
	Loading func() bool
	// Pages are answered by their own handlers, by path ("/", "/health"), for
	// GET and HEAD.
	Pages map[string]http.Handler
	// V1, if set, answers everything under /v1, whatever the method.
	V1 http.Handler
}

// Handler answers the routes of a provider. Words that no channel may be
// called (blobs, root, v1) lead elsewhere.
func Handler(c Config) http.Handler { return &handler{Config: c} }

type handler struct {
	Config
	trials    remotetrials.Counter
	manifests atomic.Pointer[manifests]
}

// manifests are the contents of manifests by path, while the store stays as it
// is: those are asked for most, and made once.
type manifests struct {
	changed <-chan struct{} // of the store: another one once that has changed
	byPath  sync.Map        // string → *content
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path // decoded: an encoded slash or dot is one here too
	control := http.NewResponseController(w)
	if h.V1 != nil && (path == "/v1" || strings.HasPrefix(path, "/v1/")) {
		// Its answers may take as long as a job; the deadline of an earlier
		// request on this connection is not theirs.
		setDeadline(control.SetWriteDeadline, 0)
		h.V1.ServeHTTP(w, r)
		return
	}
	setDeadline(control.SetWriteDeadline, sendStall)
	if r.ContentLength != 0 {
		// Nothing here reads a body. The server would wait for one in order
		// to use the connection again.
		w.Header().Set("Connection", "close")
		setDeadline(control.SetReadDeadline, bodyPatience)
	}
	answer := h.find(path)
	if r.URL.RawPath != "" && strings.Contains(strings.ToLower(r.URL.EscapedPath()), "%2f") {
		answer = nil // a slash that does not separate is in no name
	}
	if answer == nil && (h.Loading != nil && h.Loading() || h.Store.Looking()) && plausible(path) {
		w.Header().Set("Retry-After", "1")
		problem.Write(w, http.StatusServiceUnavailable, "the releases held are still being hashed")
		return
	}
	if answer == nil {
		problem.Write(w, http.StatusNotFound, "nothing is served at "+path)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem.Write(w, http.StatusMethodNotAllowed, r.Method+" is not for "+path)
		return
	}
	if strings.HasSuffix(path, "/"+layout.ManifestFile) {
		h.trials.Answer(w, r, h.holds)
	}
	answer.ServeHTTP(w, r)
}

// holds says whether a release, by the digest of its payload, is served here.
func (h *handler) holds(d names.Digest) bool {
	for _, r := range h.Store.Releases() {
		if r.Digest() == d {
			return true
		}
	}
	return false
}

// find returns what answers a decoded path, nil when nothing does.
func (h *handler) find(path string) http.Handler {
	if page, ok := h.Pages[path]; ok {
		return page
	}
	if strings.HasSuffix(path, "/"+layout.ManifestFile) {
		return h.manifest(path)
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "root":
		return h.rootDocument(parts[1])
	case len(parts) == 3 && parts[0] == "blobs" && parts[1] == "sha256":
		return h.blob(parts[2])
	case len(parts) == 3:
		return h.file(parts[0]+"/"+parts[1], parts[2])
	}
	return nil
}

// plausible says whether a path could name something held.
func plausible(path string) bool {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) == 3 && parts[0] == "blobs" {
		_, err := names.ParseDigest("sha256:" + parts[2])
		return parts[1] == "sha256" && err == nil
	}
	if len(parts) == 3 {
		_, _, ok := line(parts[0] + "/" + parts[1])
		return ok
	}
	return path == "/"+layout.ManifestFile
}

// manifest finds the manifest at a path.
func (h *handler) manifest(path string) http.Handler {
	changed := h.Store.Changed() // before the look, so that no change is missed
	known := h.manifests.Load()
	if known == nil || known.changed != changed {
		known = &manifests{changed: changed}
		h.manifests.Store(known)
	}
	if c, ok := known.byPath.Load(path); ok {
		return c.(*content)
	}
	channel, arch := h.Channel, h.Arch
	if path != "/"+layout.ManifestFile {
		var ok bool
		if channel, arch, ok = line(strings.TrimSuffix(path, "/"+layout.ManifestFile)); !ok {
			return nil
		}
	}
	r, ok := h.Store.Newest(channel, arch)
	if !ok {
		return nil
	}
	c := document(r.Envelope())
	known.byPath.Store(path, c)
	return c
}

// line reads the channel and the arch of "/<channel>/<arch>".
func line(path string) (channel, arch string, ok bool) {
	channel, arch, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	channel, noChannel := names.ParseChannel(channel)
	arch, noArch := names.ParseArch(arch)
	return channel, arch, noChannel == nil && noArch == nil
}

func (h *handler) file(dir, file string) http.Handler {
	channel, arch, ok := line(dir)
	if !ok {
		return nil
	}
	name, ok := layout.ArtifactName(file)
	if !ok {
		return nil
	}
	r, ok := h.Store.Newest(channel, arch)
	if !ok {
		return nil
	}
	b, ok := r.Artifact(name)
	if d, described := r.Beside(file); described && !ok {
		return document(d)
	}
	if !ok || !b.Intact() {
		return nil
	}
	// The same path is another artifact after an update.
	return artifact(b, "no-cache")
}

func (h *handler) rootDocument(file string) http.Handler {
	version, ok := layout.RootVersion(file)
	if !ok {
		return nil
	}
	root, ok := h.Store.Root(version)
	if !ok {
		return nil
	}
	return document(root)
}

func (h *handler) blob(hex string) http.Handler {
	digest, err := names.ParseDigest("sha256:" + hex)
	if err != nil {
		return nil
	}
	b, ok := h.Store.Blob(digest)
	if !ok {
		return nil
	}
	// A digest names the same bytes for ever (RFC 8246).
	return artifact(b, "public, max-age=31536000, immutable")
}
