package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/history"
	"phase/appliance/compute/scheduler"
)

// ErrNoDaemon says that no process listens on the socket.
var ErrNoDaemon = errors.New("no plasmd listens there; `plasmd start` runs one")

// Client asks a daemon: the one on this machine by its unix socket, or a node
// over HTTP.
type Client struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	base  string // the URL before /v1
	token string // "" on the socket
}

// NewClient returns a client of the daemon whose socket is at path.
func NewClient(path string) *Client {
	return &Client{base: "http://plasmd", dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "unix", path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%s: %w", path, ErrNoDaemon)
		}
		return conn, err
	}}
}

// NewNodeClient returns a client of a node at a URL like http://192.0.2.7:8080,
// for the holder of its owner's token. A node prints both on its console.
func NewNodeClient(base, token string) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, dial: (&net.Dialer{Timeout: nodeTime}).DialContext}
}

// bodyCloser is a connection that closes the body that is sent over it first.
// The HTTP client returns no error before it has read what it was sending, even
// when the other end is gone: an input of which nothing comes would keep it for
// ever.
type bodyCloser struct {
	net.Conn
	body io.Closer
}

func (c bodyCloser) Close() error {
	c.body.Close()
	return c.Conn.Close()
}

// nodeTime is how long a node has to take a connection.
const nodeTime = 10 * time.Second

// maxAnswer is the longest answer or event that is read.
const maxAnswer = 16 << 20

// ask sends a request and returns the answer, which is not an error.
func (c *Client) ask(ctx context.Context, method, path, kind, accept string, body io.ReadCloser) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("asking the daemon: %w", err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("Accept", accept)
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	// A job cannot be sent twice, so it is not sent over a connection that the
	// daemon may be about to close. A new one costs next to nothing.
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := c.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return bodyCloser{conn, body}, nil
		}},
		// A daemon redirects nobody, and the token is for this one alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	var noisy *url.Error
	if errors.As(err, &noisy) {
		err = noisy.Err // the URL is of no help
	}
	if err != nil {
		return nil, fmt.Errorf("asking the daemon: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var p problem.Document
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = strictjson.Unmarshal(data, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the daemon: it answers %s, and not as plasmd does: %w", resp.Status, err)
	}
	return nil, &Refused{p}
}

// Refused is the error of a request that the daemon understood and did not do.
type Refused struct{ problem.Document }

func (r *Refused) Error() string {
	if r.Code != "" {
		return r.Code + ": " + r.Detail
	}
	return r.Detail
}

// call sends a request without a body and reads the JSON object that answers it.
func (c *Client) call(ctx context.Context, method, path string, v any) error {
	resp, err := c.ask(ctx, method, path, "", "application/json", http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil {
		err = strictjson.Unmarshal(data, v, strictjson.Limit(maxAnswer))
	}
	if err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// Node asks who the daemon is.
func (c *Client) Node(ctx context.Context) (n Node, err error) {
	return n, c.call(ctx, http.MethodGet, "/v1/node", &n)
}

// Jobs lists at most limit runs, newest first.
func (c *Client) Jobs(ctx context.Context, before string, limit int) (p Page, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if before != "" {
		query.Set("before", before)
	}
	return p, c.call(ctx, http.MethodGet, "/v1/jobs?"+query.Encode(), &p)
}

// Job returns one run.
func (c *Client) Job(ctx context.Context, runID string) (d Detail, err error) {
	return d, c.call(ctx, http.MethodGet, "/v1/jobs/"+url.PathEscape(runID), &d)
}

// Cancel ends one run and returns it as it stood.
func (c *Client) Cancel(ctx context.Context, runID string) (r history.Run, err error) {
	return r, c.call(ctx, http.MethodPost, "/v1/jobs/"+url.PathEscape(runID)+"/cancel", &r)
}

// Logs returns the last lines of the daemon's log.
func (c *Client) Logs(ctx context.Context, lines int) (l Lines, err error) {
	return l, c.call(ctx, http.MethodGet, "/v1/logs?lines="+strconv.Itoa(lines), &l)
}

// Execute sends an offer and returns what came of it: first by the digest of its
// module, and with the module where the node does not hold it. Output goes to the
// offer's Stdout and Stderr, or into Done where they are nil, and is never more
// than the job may write; its Input is sent until the module has ended. Nothing
// of the answer is verified: the caller, who knows which node was asked, does
// that (Done.Verify).
func (c *Client) Execute(ctx context.Context, o scheduler.Offer) (done scheduler.Done, err error) {
	var stdout, stderr bytes.Buffer
	if o.Stdout == nil {
		o.Stdout = &stdout
	}
	if o.Stderr == nil {
		o.Stderr = &stderr
	}
	if o.Input != nil {
		defer o.Input.Sum() // nothing more of it is read
	}
	sending, end := context.WithCancel(ctx)
	defer end()
	resp, err := c.send(sending, o, false)
	var refused *Refused
	if errors.As(err, &refused) && refused.Code == string(scheduler.ModuleNeeded) && o.Module != nil {
		// Nothing has run: the node keeps the nonce of no job that it refuses so.
		resp, err = c.send(sending, o, true)
	}
	if err != nil {
		return done, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	left := o.Spec.OutputBytes()
	for lines.Scan() {
		var e event
		if err := strictjson.Unmarshal(lines.Bytes(), &e, strictjson.Limit(maxAnswer)); err != nil {
			return done, fmt.Errorf("reading the daemon's answer: %w", err)
		}
		if left -= int64(len(e.Data)); left < 0 {
			return done, errors.New("reading the daemon's answer: more output than the job may write")
		}
		last, err := take(e, o, &done)
		if last && err == nil {
			done.Stdout, done.Stderr = stdout.Bytes(), stderr.Bytes()
		}
		if last || err != nil {
			return done, err
		}
	}
	if err := lines.Err(); err != nil {
		return done, fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return done, errors.New("reading the daemon's answer: it ends before the job does; the daemon was stopped")
}

// take does what an event of a streamed answer says, and reports whether it is
// the last one.
func take(e event, o scheduler.Offer, done *scheduler.Done) (last bool, err error) {
	switch e.Event {
	case "stdout":
		_, err = o.Stdout.Write(e.Data)
	case "stderr":
		_, err = o.Stderr.Write(e.Data)
	case "ended":
		if o.Input != nil {
			done.Input = o.Input.Sum()
		}
	case "error":
		if e.Problem == nil {
			return true, errors.New("reading the daemon's answer: an error that says nothing")
		}
		return true, &Refused{*e.Problem}
	case "done":
		if e.ExitCode == nil {
			return true, errors.New("reading the daemon's answer: it has no exit code")
		}
		done.JobID, done.RunID, done.ExitCode, done.Outcome, done.Receipt = e.JobID, e.RunID, *e.ExitCode, e.Outcome, e.Receipt
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("passing on the output: %w", err)
	}
	return false, err
}

// send posts an offer, with its module or by its digest alone, and returns the
// streamed answer once the job is admitted; it ends with ctx.
func (c *Client) send(ctx context.Context, o scheduler.Offer, withModule bool) (*http.Response, error) {
	parts := []filePart{{"job", bytes.NewReader(o.Spec.File())}, {"offer_nonce", strings.NewReader(o.Nonce)}}
	if withModule {
		parts = append(parts, filePart{"module", bytes.NewReader(o.Module.Bytes())})
	}
	admitted := make(chan struct{})
	if o.Input == nil {
		parts = append(parts, filePart{"stdin", bytes.NewReader(o.Stdin)})
	} else {
		parts = append(parts, filePart{"stdin", waiting{ctx, admitted, o.Input}})
	}
	body, kind := formOf(parts)
	resp, err := c.ask(ctx, http.MethodPost, "/v1/jobs", kind, streamType, body)
	if err != nil {
		body.Close()
		return nil, err
	}
	close(admitted)
	return resp, nil
}

// waiting is an input that is not read before its job is admitted: what has been
// read of it cannot be sent again.
type waiting struct {
	ctx      context.Context
	admitted <-chan struct{}
	io.Reader
}

func (w waiting) Read(p []byte) (int, error) {
	select {
	case <-w.admitted:
		return w.Reader.Read(p)
	case <-w.ctx.Done():
		return 0, w.ctx.Err()
	}
}

// filePart is one part of a request.
type filePart struct {
	name string
	from io.Reader
}

// formOf is a request's body, written while it is read.
func formOf(parts []filePart) (body io.ReadCloser, kind string) {
	reader, writer := io.Pipe()
	w := multipart.NewWriter(writer)
	go func() {
		err := func() error {
			for _, part := range parts {
				to, err := w.CreateFormFile(part.name, part.name)
				if err == nil {
					_, err = io.Copy(to, part.from)
				}
				if err != nil {
					return err
				}
			}
			return w.Close()
		}()
		writer.CloseWithError(err) // nil is the end of the body
	}()
	return reader, w.FormDataContentType()
}
