package provide

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/problem"
	"phase/appliance/release/store"
)

// content is one representation: bytes whose digest is known.
//
// net/http's ServeContent is not used. It answers 416 where RFC 9110 wants the
// header ignored (another unit) or clamped (a last position beyond int64),
// gives ranges to HEAD, does not know "Bytes=", makes an empty 206 of
// "bytes=-0", and writes its errors as plain text.
type content struct {
	io.ReaderAt
	size int64
	text string // all of it, "" where it is read from ReaderAt
	mime string
	// tag is the strong validator. There is no Last-Modified: a date could not
	// tell two releases of one second apart, and the digest can.
	tag string
	// The header fields of every answer, of those that have a body too, and of
	// the whole. They are made once and shared by all answers.
	validators, described, whole []field
	inOrder                      bool // going back costs what was read so far: a list of ranges is ignored
}

// field is a header field as net/http keeps it.
type field struct {
	name  string
	value []string
}

func newField(name, value string) field {
	return field{http.CanonicalHeaderKey(name), []string{value}}
}

func set(h http.Header, fields []field) {
	for _, f := range fields {
		h[f.name] = f.value
	}
}

func newContent(from io.ReaderAt, size int64, digest names.Digest, mime, cache string) *content {
	c := &content{ReaderAt: from, size: size, mime: mime, tag: `"` + digest.String() + `"`}
	c.validators = []field{newField("ETag", c.tag), newField("Cache-Control", cache)}
	c.described = []field{
		newField("Accept-Ranges", "bytes"),
		newField("X-Artifact-Hash", digest.String()),
		newField("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":"),
		newField("X-Content-Type-Options", "nosniff"),
	}
	c.whole = []field{newField("Content-Type", mime), newField("Content-Length", strconv.FormatInt(size, 10))}
	return c
}

// artifact is the content of a blob.
func artifact(b *store.Blob, cache string) *content {
	return newContent(b, b.Size(), b.Digest(), "application/octet-stream", cache)
}

// document is the content of a signed document.
func document(d store.Document) *content {
	c := newContent(strings.NewReader(d.Data), int64(len(d.Data)), d.Digest, "application/json", "no-cache")
	c.text = d.Data
	return c
}

// Made is the content of a file that is made of a release as it is read, by the
// digest of that release: the same release makes the same bytes. What they hash to
// nobody has worked out.
func Made(from io.ReaderAt, size int64, release names.Digest, file string) http.Handler {
	c := newContent(from, size, release, "application/octet-stream", "no-cache")
	c.inOrder = true
	c.tag = `"` + file + "-" + release.String() + `"`
	c.validators[0] = newField("ETag", c.tag)
	c.described = []field{
		newField("Accept-Ranges", "bytes"),
		newField("Content-Disposition", `attachment; filename="`+file+`"`),
		newField("X-Content-Type-Options", "nosniff"),
	}
	return c
}

// ServeHTTP answers GET and HEAD in the order of RFC 9110, section 13.2.2.
func (c *content) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	set(h, c.validators)
	if list := r.Header["If-Match"]; len(list) > 0 && !matches(strings.Join(list, ","), c.tag, false) {
		problem.Write(w, http.StatusPreconditionFailed, "it is "+c.tag+" now")
		return
	}
	if list := r.Header["If-None-Match"]; len(list) > 0 && matches(strings.Join(list, ","), c.tag, true) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	set(h, c.described)

	spans, ranged := c.ranges(r)
	switch {
	case !ranged:
		set(h, c.whole)
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			c.sendAll(w, r)
		}
	case len(spans) == 0:
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", c.size))
		problem.Write(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("it has %d bytes", c.size))
	case len(spans) == 1:
		h.Set("Content-Type", c.mime)
		h.Set("Content-Range", c.contentRange(spans[0]))
		h.Set("Content-Length", strconv.FormatInt(spans[0].length(), 10))
		w.WriteHeader(http.StatusPartialContent)
		c.send(w, r, spans[0])
	default:
		c.sendParts(w, r, spans)
	}
}

// ranges are the parts asked for. Range is for GET alone (section 14.2) and
// holds only if If-Range names this very representation.
func (c *content) ranges(r *http.Request) ([]span, bool) {
	header := r.Header["Range"]
	if r.Method != http.MethodGet || len(header) != 1 {
		return nil, false
	}
	if condition := r.Header["If-Range"]; len(condition) > 0 {
		// One strong tag, not a list; a date cannot match where there is no
		// Last-Modified.
		if len(condition) != 1 || strings.Trim(condition[0], " \t") != c.tag {
			return nil, false
		}
	}
	spans, ok := parseRange(strings.Trim(header[0], " \t"), c.size)
	if c.inOrder && len(spans) > 1 {
		return nil, false // a server may (section 14.2)
	}
	return spans, ok
}

func (c *content) contentRange(s span) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.first, s.last, c.size)
}

// sendParts answers several ranges as multipart/byteranges (section 14.6).
func (c *content) sendParts(w http.ResponseWriter, r *http.Request, spans []span) {
	boundary := rand.Text()
	end := "\r\n--" + boundary + "--\r\n"
	length := int64(len(end))
	heads := make([]string, len(spans))
	for i, s := range spans {
		heads[i] = "--" + boundary + "\r\nContent-Type: " + c.mime + "\r\nContent-Range: " + c.contentRange(s) + "\r\n\r\n"
		if i > 0 {
			heads[i] = "\r\n" + heads[i]
		}
		length += int64(len(heads[i])) + s.length()
	}
	w.Header().Set("Content-Type", "multipart/byteranges; boundary="+boundary)
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(http.StatusPartialContent)
	for i, s := range spans {
		if _, err := io.WriteString(w, heads[i]); err != nil {
			panic(http.ErrAbortHandler)
		}
		c.send(w, r, s)
	}
	// If this does not arrive, neither does the end of the body.
	_, _ = io.WriteString(w, end)
}

const (
	// sendChunk is the most, and minChunk the least that is read and sent at
	// once, in bytes, unless it is the last.
	sendChunk = 128 << 10
	minChunk  = 4 << 10
	// sendStall is how long a client may take over one chunk: a reader below
	// about 4 KiB a second only holds a connection others could use.
	sendStall = 30 * time.Second
)

var chunks = sync.Pool{New: func() any { return new([sendChunk]byte) }}

// sendAll writes the whole.
func (c *content) sendAll(w http.ResponseWriter, r *http.Request) {
	if c.text == "" {
		c.send(w, r, span{0, c.size - 1})
	} else if _, err := io.WriteString(w, c.text); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// send writes a part. The header is out already, so whatever goes wrong, bytes
// changed under us above all, can only be told by breaking the connection off.
func (c *content) send(w http.ResponseWriter, r *http.Request, s span) {
	connection, control := connOf(r), http.NewResponseController(w)
	for off := s.first; off <= s.last; {
		setDeadline(control.SetWriteDeadline, sendStall)
		size := min(sendChunk, s.last-off+1)
		if connection != nil {
			room, err := connection.room()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			size = min(size, room)
		}
		off += c.sendChunk(w, off, size)
	}
}

// sendChunk writes size bytes from off, and returns how many it wrote.
func (c *content) sendChunk(w http.ResponseWriter, off, size int64) int64 {
	buf := chunks.Get().(*[sendChunk]byte)
	defer chunks.Put(buf)
	part := buf[:size]
	n, err := c.ReadAt(part, off)
	if n < len(part) && err != nil || n == 0 {
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(part[:n]); err != nil {
		panic(http.ErrAbortHandler)
	}
	return int64(n)
}

// bodyPatience is how long a body that is not read may still come in.
const bodyPatience = time.Second

// setDeadline bounds the next step of a connection, or with 0 frees it from
// bounds. A response that is not on a connection, as in a test, knows none.
func setDeadline(set func(time.Time) error, after time.Duration) {
	var at time.Time
	if after > 0 {
		at = time.Now().Add(after)
	}
	if err := set(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		panic(http.ErrAbortHandler)
	}
}
