// Package hostile holds the providers that a node must refuse, by the classes of
// docs/threats.md: what they say, how they answer, and the code of the refusal.
// They may hold anything that the project ever signed and anything that others
// sign. The same ones stand before whole machines (tests/machines) and before
// the programs as processes (tests/attacks).
package hostile

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/manifest"
)

// Provider is one provider that a node must refuse.
type Provider struct {
	Name  string
	Class int    // of docs/threats.md; 0 for one of its second table
	Did   string // what is tried
	// Codes of the refusal: one, or several with bars between them when the
	// network decides which.
	Codes string
	// Document is the manifest it hands out, when that is all that is wrong.
	Document []byte
	Serve    Serve
}

// Release is a release as all may have it.
type Release struct {
	Manifest  manifest.Manifest
	Envelope  []byte
	Artifacts map[string][]byte
}

// Made is what the project made, and what attackers make of it.
type Made struct {
	// Running is what the node runs, Next what it should take, of a higher
	// version.
	Running manifest.Manifest
	Next    Release
	// Seal signs any bytes as a manifest with the project's release keys: what
	// those who hold them can do by mistake or by force.
	Seal func(payload []byte) ([]byte, error)
	// Forge does the same with keys that nobody knows.
	Forge func(payload []byte) ([]byte, error)
}

// All are all providers there are, but for those of the segment they are on.
func All(t testing.TB, m Made) []Provider {
	t.Helper()
	var all []Provider
	for _, group := range [][]Provider{Software(t, m), Times(t, m), Documents(t, m), Answers(m), Artifacts(m)} {
		all = append(all, group...)
	}
	return all
}

// Named picks providers by name.
func Named(list []Provider, names ...string) (picked []Provider) {
	for _, p := range list {
		for _, name := range names {
			if p.Name == name {
				picked = append(picked, p)
			}
		}
	}
	return picked
}

// Changed is the envelope of the next release with another manifest, signed by
// the project.
func (m Made) Changed(t testing.TB, change func(*manifest.Manifest)) []byte {
	t.Helper()
	next := m.Next.Manifest
	change(&next)
	payload, err := next.Payload()
	if err != nil {
		t.Fatal(err)
	}
	return sealed(t, m.Seal, payload)
}

func sealed(t testing.TB, seal func([]byte) ([]byte, error), payload []byte) []byte {
	t.Helper()
	data, err := seal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Serve answers those who connect, until the listener is closed.
type Serve func(net.Listener)

// HTTP answers as a provider of the handler's making does, each request on a
// connection of its own: one that is open is waited for.
func HTTP(h http.HandlerFunc) Serve {
	return func(l net.Listener) {
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
		server.SetKeepAlivesEnabled(false)
		_ = server.Serve(l) // ends with the listener
	}
}

// Talk calls talk with each connection, in a goroutine of its own.
func Talk(talk func(net.Conn)) Serve {
	return func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c)
		}
	}
}

// Offer answers as a provider that has one manifest, and for artifacts with
// what artifacts says; nil has none.
func Offer(data []byte, artifacts http.HandlerFunc) Serve {
	return HTTP(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/"+layout.ManifestFile):
			_, _ = w.Write(data)
		case artifacts != nil && !strings.HasPrefix(r.URL.Path, "/"+layout.RootFolder+"/"): // it has no later root
			artifacts(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// Honest answers as a provider of the release does; each artifact passes through
// between, if that is not nil.
func (r Release) Honest(between func(name string, data []byte) []byte) Serve {
	changed := r
	changed.Artifacts = map[string][]byte{}
	for name, data := range r.Artifacts {
		if changed.Artifacts[name] = data; between != nil {
			changed.Artifacts[name] = between(name, data)
		}
	}
	return HTTP(changed.Answer)
}

// Answer answers one request as a provider of the release does.
func (r Release) Answer(w http.ResponseWriter, q *http.Request) {
	if strings.HasSuffix(q.URL.Path, "/"+layout.ManifestFile) {
		_, _ = w.Write(r.Envelope)
		return
	}
	body := r.Artifacts[r.asked(q)]
	if body == nil {
		http.NotFound(w, q)
		return
	}
	http.ServeContent(w, q, "", r.Manifest.Created, bytes.NewReader(body))
}

// asked is the name of the artifact that is asked for, by digest or by name.
func (r Release) asked(q *http.Request) string {
	for name, a := range r.Manifest.Artifacts {
		if path := q.URL.Path; strings.HasSuffix(path, "/"+a.SHA256.Hex()) || strings.HasSuffix(path, "/"+layout.FileName(name)) {
			return name
		}
	}
	return ""
}

// lifetime is a context that ends when the other end closes the connection. It
// reads, and drops, what still comes from there.
func lifetime(c net.Conn) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, c)
	}()
	return ctx
}
