package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/history"
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

// Reach says whether the daemon takes connections: ErrNoDaemon when none
// listens.
func (c *Client) Reach(ctx context.Context) error {
	conn, err := c.dial(ctx, "", "")
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	return conn.Close()
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
	var p Problem
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
type Refused struct{ Problem }

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
