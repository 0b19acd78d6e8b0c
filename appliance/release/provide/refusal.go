package provide

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/problem"
)

// A request that is no HTTP, has a header too large or an Expect that is
// not known is answered by net/http itself, in plain text, and no handler is asked.
// It offers no way to say it otherwise, so those answers are put into the form
// of all others where they leave: on the connection (conn.Write).

// refusal is the problem document in place of an error in plain text; nil when
// the bytes are no whole answer with an error's status.
func refusal(p []byte) []byte {
	head, body, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	first, _, _ := strings.Cut(string(head), "\r\n")
	proto, rest, _ := strings.Cut(first, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !whole || err != nil || !strings.HasPrefix(proto, "HTTP/1.") || status < 400 || status > 599 {
		return nil
	}
	// "400 Bad Request: malformed Host header" says what the status does not.
	detail := strings.TrimPrefix(string(body), code+" "+http.StatusText(status))
	w := &kept{header: http.Header{}}
	w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	problem.Write(w, status, strings.TrimPrefix(detail, ": "))
	resp := http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		ContentLength: int64(w.body.Len()), Body: io.NopCloser(&w.body),
	}
	var out bytes.Buffer
	if resp.Write(&out) != nil {
		return nil
	}
	return out.Bytes()
}

// kept is a ResponseWriter that keeps what is written.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }
