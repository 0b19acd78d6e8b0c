package hostile

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// asked reads a request, so that what follows is an answer to it.
func asked(talk func(net.Conn)) Serve {
	return Talk(func(c net.Conn) {
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			talk(c)
		}
	})
}

// forever answers with head and bytes without end.
func forever(head string) Serve {
	endless := bytes.Repeat([]byte("a"), 64<<10)
	return asked(func(c net.Conn) {
		_, err := io.WriteString(c, head)
		for err == nil {
			_, err = c.Write(endless)
		}
	})
}

func status(code int) Serve {
	return HTTP(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

// Answers are providers by which a node must not be held up: endless data (8),
// slow retrieval (9), dropped requests (11), for every client that asks.
func Answers(m Made) []Provider {
	return []Provider{
		{Name: "endless-body", Class: 8, Did: "a manifest without end", Codes: "size", Serve: forever("HTTP/1.1 200 OK\r\n\r\n")},
		{Name: "gibibyte", Class: 8, Did: "a manifest of 1 GiB", Codes: "size", Serve: forever("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")},
		{Name: "endless-header", Class: 8, Did: "a header without end", Codes: "unreachable|size", Serve: forever("HTTP/1.1 200 OK\r\nX-A: ")},
		{Name: "endless-informational", Class: 8, Did: "informational answers without end", Codes: "unreachable|slow|size", Serve: asked(func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"); err != nil {
					return
				}
			}
		})},
		{Name: "no-http", Class: 8, Did: "bytes without end that are no HTTP", Codes: "unreachable", Serve: forever("\x1b[2J\x00\xff")},
		{Name: "drips-body", Class: 9, Did: "a manifest at a byte a second", Codes: "slow", Serve: HTTP(func(w http.ResponseWriter, r *http.Request) {
			drip(r.Context(), func(b []byte) error {
				_, err := w.Write(b)
				w.(http.Flusher).Flush()
				return err
			}, "{")
		})},
		{Name: "drips-header", Class: 9, Did: "a header at a byte a second", Codes: "slow", Serve: asked(func(c net.Conn) {
			drip(lifetime(c), func(b []byte) error { _, err := c.Write(b); return err }, "HTTP/1.1 200 OK\r\nX-A: ")
		})},
		{Name: "silent", Class: 11, Did: "accepts and never answers", Codes: "slow", Serve: Talk(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })},
		{Name: "resets", Class: 11, Did: "closes the connection at once", Codes: "unreachable", Serve: Talk(func(c net.Conn) { c.Close() })},
		{Name: "hangs-up", Class: 11, Did: "closes the connection when it was asked", Codes: "unreachable", Serve: asked(func(net.Conn) {})},
		{Name: "error-500", Class: 11, Did: "answers 500", Codes: "unreachable", Serve: status(http.StatusInternalServerError)},
		{Name: "busy-503", Class: 11, Did: "answers 503", Codes: "busy", Serve: status(http.StatusServiceUnavailable)},
		{Name: "has-it-not", Class: 11, Did: "answers 404", Codes: "unreachable", Serve: status(http.StatusNotFound)},
		{Name: "redirects", Class: 1, Did: "sends the node to an address of its own", Codes: "unreachable", Serve: HTTP(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://[::1]:8080/manifest.json", http.StatusFound)
		})},
		{Name: "gzip", Class: 8, Did: "an encoding that was not asked for", Codes: "format", Serve: HTTP(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(m.Next.Envelope)
		})},
	}
}

// Artifacts are providers whose manifest is the real one, and whose bytes are
// not (1, 6, 8, 9, 11). All of them spoil the rootfs, and its first byte: from
// providers that spoil different artifacts, or different bytes of one, a node would,
// rightly, put a sound release together.
func Artifacts(m Made) []Provider {
	next := m.Next
	flip := func(places ...int) Serve {
		return next.Honest(func(name string, data []byte) []byte {
			if name == "rootfs" {
				data = bytes.Clone(data)
				for _, at := range places {
					data[(at+len(data))%len(data)] ^= 1
				}
			}
			return data
		})
	}
	other := map[string]string{"kernel": "rootfs", "rootfs": "kernel", "initramfs": "initramfs"}
	return []Provider{
		{Name: "first-byte", Class: 1, Did: "the first byte of the rootfs is another", Codes: "digest", Serve: flip(0)},
		{Name: "last-byte", Class: 1, Did: "the first and the last byte of the rootfs are others", Codes: "digest", Serve: flip(0, -1)},
		{Name: "zeros", Class: 1, Did: "zeros for all artifacts", Codes: "digest", Serve: next.Honest(func(_ string, data []byte) []byte { return make([]byte, len(data)) })},
		{Name: "one-byte-more", Class: 1, Did: "artifacts that are a byte longer", Codes: "size", Serve: next.Honest(func(_ string, data []byte) []byte { return append(bytes.Clone(data), 0) })},
		{Name: "kernel-is-rootfs", Class: 1, Did: "the kernel and the rootfs in each other's place", Codes: "size|digest",
			Serve: next.Honest(func(name string, _ []byte) []byte { return next.Artifacts[other[name]] })},
		{Name: "kernel-is-rootfs-cut", Class: 6, Did: "the same, cut to the signed sizes", Codes: "digest", Serve: next.Honest(func(name string, data []byte) []byte {
			if swap := next.Artifacts[other[name]]; len(swap) >= len(data) {
				return swap[:len(data)]
			}
			return make([]byte, len(data))
		})},
		{Name: "manifest-alone", Class: 11, Did: "the manifest and no artifact", Codes: "unreachable", Serve: Offer(next.Envelope, nil)},
		{Name: "artifacts-500", Class: 11, Did: "answers 500 for artifacts", Codes: "unreachable", Serve: Offer(next.Envelope, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })},
		{Name: "artifacts-drip", Class: 9, Did: "artifacts at a byte a second", Codes: "slow", Serve: next.Dripping()},
		{Name: "artifacts-silent", Class: 11, Did: "never answers for artifacts", Codes: "slow", Serve: Offer(next.Envelope, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	}
}

// Dripping answers as a provider that sends its artifacts at a byte a second.
func (r Release) Dripping() Serve {
	return Offer(r.Envelope, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream") // else it reads on to guess that, before it answers
		slow := &dripping{bytes.NewReader(r.Artifacts[r.asked(q)]), q.Context()}
		http.ServeContent(flushing{w}, q, "", r.Manifest.Created, slow)
	})
}

// dripping is read a byte a second.
type dripping struct {
	data *bytes.Reader
	ctx  context.Context
}

func (d *dripping) Read(p []byte) (int, error) {
	second := time.NewTimer(time.Second)
	defer second.Stop()
	select {
	case <-second.C:
		return d.data.Read(p[:1])
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// Seek is bytes.Reader's, whose WriteTo must not be seen.
func (d *dripping) Seek(offset int64, whence int) (int64, error) { return d.data.Seek(offset, whence) }

// flushing sends every write at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// drip writes head and then a byte a second until it can write no more or ctx
// ends.
func drip(ctx context.Context, write func([]byte) error, head string) {
	if write([]byte(head)) != nil {
		return
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			if write([]byte(" ")) != nil {
				return
			}
		}
	}
}
