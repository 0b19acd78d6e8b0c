package provide

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/problem"
)

// What no handler ever sees is refused in the same form as all else.
func TestRefusalsOfTheServerItself(t *testing.T) {
	f := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	addr, _ := listening(t, f, time.Second, nil)
	for _, c := range []struct {
		name, request string
		status        int
		detail        string
	}{
		{"no HTTP", "\x16\x03\x01\x02\r\n\r\n", 400, ""},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
		{"a broken escape", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, ""},
		{"a header's name", "GET / HTTP/1.1\r\nHost: x\r\nA b: 1\r\n\r\n", 400, "invalid header name"},
		{"a length", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, ""},
		{"a large header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", 431, ""},
		{"an encoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 501, "Unsupported transfer encoding"},
		{"a version", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505, "unsupported protocol version"},
		{"an expectation", "GET / HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\n\r\n", 417, ""},
		{"after a good request", "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400, "missing required Host header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, addr)
			go func() { _, _ = io.WriteString(conn, c.request) }()
			in := bufio.NewReader(conn)
			if c.name == "after a good request" {
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Fatal(resp, err)
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
					t.Fatalf("%q, %v", body, err)
				}
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			var doc problem.Document
			body, err := io.ReadAll(resp.Body)
			if err != nil || json.Unmarshal(body, &doc) != nil || int(resp.ContentLength) != len(body) {
				t.Errorf("body %q, %v", body, err)
			}
			if resp.StatusCode != c.status || doc.Status != c.status || doc.Detail != c.detail || !resp.Close ||
				resp.Header.Get("Content-Type") != problem.ContentType || resp.Header.Get("Date") == "" {
				t.Errorf("%d %v %+v", resp.StatusCode, resp.Header, doc)
			}
		})
	}
}

// An artifact that looks like an error of the server goes out as it is, however
// it is cut into writes.
func TestBytesThatLookLikeARefusal(t *testing.T) {
	const looks = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request"
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 300 {
			_, _ = io.WriteString(w, looks)
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = w.Write(bytes.Repeat([]byte(looks), 300)) // larger than every buffer
	})
	addr, _ := listening(t, h, time.Second, nil)
	for range 2 {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != strings.Repeat(looks, 600) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	}
}

// Whatever net/http writes, what goes out instead is a whole answer, or it is
// left alone.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n400 Bad Request: x"))
	f.Add([]byte("HTTP/1.1 417 Expectation Failed\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out := refusal(data)
		if out == nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		var doc problem.Document
		if err != nil || json.Unmarshal(body, &doc) != nil || doc.Status != resp.StatusCode || resp.StatusCode < 400 {
			t.Fatalf("%q became %q", data, out)
		}
	})
}
