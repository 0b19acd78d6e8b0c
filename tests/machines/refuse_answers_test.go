package machines

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"phase/tests/lab"
)

// The ways to answer that a node must not be held up by.

// answers: endless data (8), slow retrieval (9), dropped requests (11), to
// every client that asks for the manifest.
func answers(w *world) []hostile {
	endless := bytes.Repeat([]byte("a"), 64<<10)
	forever := func(c io.Writer, head string) {
		_, err := io.WriteString(c, head)
		for err == nil {
			_, err = c.Write(endless)
		}
	}
	status := func(code int) lab.Serve {
		return lab.HTTP(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	// asked reads a request, so that what follows is an answer to it.
	asked := func(talk func(net.Conn)) lab.Serve {
		return lab.Talk(func(c net.Conn) {
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				talk(c)
			}
		})
	}
	return []hostile{
		{"endless-body", asked(func(c net.Conn) { forever(c, "HTTP/1.1 200 OK\r\n\r\n") }), "size"},
		{"gibibyte", asked(func(c net.Conn) { forever(c, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n") }), "size"},
		{"endless-header", asked(func(c net.Conn) { forever(c, "HTTP/1.1 200 OK\r\nX-A: ") }), "unreachable|size"},
		{"endless-informational", asked(func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"); err != nil {
					return
				}
			}
		}), "unreachable|slow|size"},
		{"no-http", asked(func(c net.Conn) { forever(c, "\x1b[2J\x00\xff") }), "unreachable"},
		{"silent", lab.Talk(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "slow"},
		{"resets", lab.Talk(func(c net.Conn) { c.Close() }), "unreachable"},
		{"hangs-up", asked(func(c net.Conn) {}), "unreachable"},
		{"drips-body", lab.HTTP(func(w http.ResponseWriter, r *http.Request) {
			drip(r.Context(), func(b []byte) error {
				_, err := w.Write(b)
				w.(http.Flusher).Flush()
				return err
			}, "{")
		}), "slow"},
		{"drips-header", asked(func(c net.Conn) {
			drip(lab.Lifetime(c), func(b []byte) error { _, err := c.Write(b); return err }, "HTTP/1.1 200 OK\r\nX-A: ")
		}), "slow"},
		{"error-500", status(http.StatusInternalServerError), "unreachable"},
		{"busy-503", status(http.StatusServiceUnavailable), "busy"},
		{"has-it-not", status(http.StatusNotFound), "unreachable"},
		{"redirects", lab.HTTP(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://[::1]:8080/manifest.json", http.StatusFound)
		}), "unreachable"},
		{"gzip", lab.HTTP(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(w.next.Envelope)
		}), "format"},
	}
}

// artifacts: the manifest is the real one, the bytes are not (1, 6, 8, 9, 11).
// All of them spoil the rootfs: from providers that spoil different artifacts a
// node would, rightly, put a sound release together.
func artifacts(t *testing.T, w *world) []hostile {
	t.Helper()
	m := w.next.Manifest
	files := map[string][]byte{}
	for name := range m.Artifacts {
		data, err := os.ReadFile(w.next.File(name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	// serve answers with what is put in an artifact's place.
	serve := func(instead func(name string, data []byte) []byte) lab.Serve {
		bodies := map[string][]byte{}
		for name, data := range files {
			bodies[name] = instead(name, data)
		}
		return offer(w.next.Envelope, func(rw http.ResponseWriter, r *http.Request) {
			body := bodies[artifact(m, r)]
			if body == nil {
				http.NotFound(rw, r)
				return
			}
			http.ServeContent(rw, r, "", m.Created, bytes.NewReader(body))
		})
	}
	flip := func(at int) lab.Serve {
		return serve(func(name string, data []byte) []byte {
			if name == "rootfs" {
				data = bytes.Clone(data)
				data[(at+len(data))%len(data)] ^= 1
			}
			return data
		})
	}
	other := map[string]string{"kernel": "rootfs", "rootfs": "kernel", "initramfs": "initramfs"}
	return []hostile{
		{"first-byte", flip(0), "digest"},
		{"last-byte", flip(-1), "digest"},
		{"kernel-is-rootfs", serve(func(name string, _ []byte) []byte { return files[other[name]] }), "size|digest"},
		{"kernel-is-rootfs-cut", // to the size it should have
			serve(func(name string, data []byte) []byte {
				if swap := files[other[name]]; len(swap) >= len(data) {
					return swap[:len(data)]
				}
				return make([]byte, len(data))
			}), "digest"},
		{"zeros", serve(func(_ string, data []byte) []byte { return make([]byte, len(data)) }), "digest"},
		{"one-byte-more", serve(func(_ string, data []byte) []byte { return append(bytes.Clone(data), 0) }), "size"},
		{"manifest-alone", offer(w.next.Envelope, nil), "unreachable"},
		{"artifacts-500", offer(w.next.Envelope, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }), "unreachable"},
		{"artifacts-drip", offer(w.next.Envelope, func(rw http.ResponseWriter, r *http.Request) {
			slow := &dripping{bytes.NewReader(files[artifact(m, r)]), r.Context()}
			http.ServeContent(flushing{rw}, r, "", m.Created, slow)
		}), "slow"},
		{"artifacts-silent", offer(w.next.Envelope, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "slow"},
	}
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

// named picks hostile providers by name.
func named(list []hostile, names string) (picked []hostile) {
	for _, h := range list {
		if strings.Contains(" "+names+" ", " "+h.name+" ") {
			picked = append(picked, h)
		}
	}
	return picked
}
