package provide

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"testing"
	"time"

	"phase/appliance/base/names"
	"phase/tests/storetest"
)

func TestRanges(t *testing.T) {
	f := start(t, storetest.Sizes)
	const path = "/stable/x86_64/kernel"
	data := f.r.Bytes["kernel"]
	size := strconv.Itoa(len(data))
	tag := `"` + names.Sum(data).String() + `"`
	for _, c := range []struct {
		name         string
		header       []string
		status       int
		first, after int // of the body
		contentRange string
	}{
		{"first byte", []string{"Range", "bytes=0-0"}, 206, 0, 1, "bytes 0-0/" + size},
		{"middle", []string{"Range", "bytes=100-199"}, 206, 100, 200, "bytes 100-199/" + size},
		{"to the end", []string{"Range", "bytes=70000-"}, 206, 70000, 70001, "bytes 70000-70000/" + size},
		{"suffix", []string{"Range", "bytes=-10"}, 206, 69991, 70001, "bytes 69991-70000/" + size},
		{"everything", []string{"Range", "bytes=0-"}, 206, 0, 70001, "bytes 0-70000/" + size},
		{"past the end", []string{"Range", "bytes=0-99999999999999999999"}, 206, 0, 70001, "bytes 0-70000/" + size},
		{"beyond", []string{"Range", "bytes=70001-"}, 416, 0, 0, "bytes */" + size},
		{"empty suffix", []string{"Range", "bytes=-0"}, 416, 0, 0, "bytes */" + size},
		{"other unit", []string{"Range", "items=0-1"}, 200, 0, 70001, ""},
		{"malformed", []string{"Range", "bytes=5-2"}, 200, 0, 70001, ""},
		{"two fields", []string{"Range", "bytes=0-1", "Range", "bytes=2-3"}, 200, 0, 70001, ""},
		{"If-Range holds", []string{"Range", "bytes=0-0", "If-Range", tag}, 206, 0, 1, "bytes 0-0/" + size},
		{"If-Range is weak", []string{"Range", "bytes=0-0", "If-Range", "W/" + tag}, 200, 0, 70001, ""},
		{"If-Range is another", []string{"Range", "bytes=0-0", "If-Range", `"x"`}, 200, 0, 70001, ""},
		{"If-Range is a date", []string{"Range", "bytes=0-0", "If-Range", time.Now().UTC().Format(http.TimeFormat)}, 200, 0, 70001, ""},
		{"If-Range fails, beyond", []string{"Range", "bytes=70001-", "If-Range", `"x"`}, 200, 0, 70001, ""},
		{"If-None-Match before Range", []string{"Range", "bytes=70001-", "If-None-Match", tag}, 304, 0, 0, ""},
		{"If-Match before Range", []string{"Range", "bytes=0-0", "If-Match", `"x"`}, 412, 0, 0, ""},
		{"If-Match holds", []string{"Range", "bytes=0-0", "If-Match", `"x", ` + tag}, 206, 0, 1, "bytes 0-0/" + size},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := f.ask(t, "GET", path, c.header...)
			if c.status == 416 || c.status == 412 {
				checkProblem(t, path, a, c.status)
			} else if a.StatusCode != c.status || !bytes.Equal(a.body, data[c.first:c.after]) {
				t.Errorf("%d with %d bytes", a.StatusCode, len(a.body))
			}
			if got := a.Header.Get("Content-Range"); got != c.contentRange {
				t.Errorf("Content-Range %q, want %q", got, c.contentRange)
			}
			if c.status < 400 && a.Header.Get("ETag") != tag {
				t.Errorf("ETag %q", a.Header.Get("ETag"))
			}
			if c.status == 206 && a.Header.Get("Content-Length") != strconv.Itoa(c.after-c.first) {
				t.Errorf("Content-Length %q", a.Header.Get("Content-Length"))
			}
		})
	}
	a := f.ask(t, "HEAD", path, "Range", "bytes=0-0")
	if a.StatusCode != 200 || a.Header.Get("Content-Range") != "" || a.Header.Get("Content-Length") != size {
		t.Errorf("HEAD with Range: %d, %v", a.StatusCode, a.Header)
	}
}

func TestSeveralRanges(t *testing.T) {
	f := start(t, storetest.Sizes)
	data := f.r.Bytes["kernel"]
	a := f.ask(t, "GET", "/stable/x86_64/kernel", "Range", "bytes=0-9, 100-100, -5, 900000-")
	kind, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || a.StatusCode != 206 || kind != "multipart/byteranges" || a.Header.Get("Content-Range") != "" {
		t.Fatalf("%d of type %q, %v", a.StatusCode, a.Header.Get("Content-Type"), err)
	}
	if a.Header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
		t.Errorf("Content-Length %q of %d bytes", a.Header.Get("Content-Length"), len(a.body))
	}
	parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
	for _, want := range []struct {
		contentRange string
		data         []byte
	}{
		{"bytes 0-9/70001", data[:10]}, {"bytes 100-100/70001", data[100:101]}, {"bytes 69996-70000/70001", data[69996:]},
	} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil || !bytes.Equal(body, want.data) || part.Header.Get("Content-Range") != want.contentRange ||
			part.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("part %v with %d bytes, %v", part.Header, len(body), err)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestConditions(t *testing.T) {
	f := start(t, storetest.Sizes)
	tag := `"` + names.Sum(f.r.Envelope()).String() + `"`
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"If-None-Match", tag, 304}, {"If-None-Match", "W/" + tag, 304}, {"If-None-Match", "*", 304},
		{"If-None-Match", `"x", ` + tag, 304}, {"If-None-Match", `"x"`, 200},
		{"If-Match", tag, 200}, {"If-Match", "*", 200}, {"If-Match", "W/" + tag, 412}, {"If-Match", `"x"`, 412},
		{"If-Modified-Since", time.Now().UTC().Format(http.TimeFormat), 200},
		{"If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := f.ask(t, method, "/manifest.json", c.name, c.value)
			if a.StatusCode != c.status {
				t.Errorf("%s with %s: %s is answered %d, want %d", method, c.name, c.value, a.StatusCode, c.status)
			}
			if c.status == 304 && (len(a.body) > 0 || a.Header.Get("ETag") != tag || a.Header.Get("Cache-Control") != "no-cache") {
				t.Errorf("304 with %d bytes and %v", len(a.body), a.Header)
			}
		}
	}
}
