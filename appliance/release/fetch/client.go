package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/refusal"
	"phase/appliance/release/layout"
)

const (
	dialTimeout = 5 * time.Second
	// headerTimeout runs from the request to the end of the answer's header,
	// whether it trickles or does not come.
	headerTimeout = 8 * time.Second
	// headerBytes caps an answer's header, informational ones included.
	headerBytes = 64 << 10
	// manifestTimeout is all a provider gets to hand over a manifest.
	manifestTimeout = 9 * time.Second
)

// Way reaches hosts whose names end with Suffix, by other means than TCP, and
// only for http://. No host of the DNS may end so.
type Way struct {
	Suffix string
	Dial   func(ctx context.Context, host string) (net.Conn, error)
	// Prefix, if not nil, is put before the path of a request to a host: what
	// Dial reaches then is a server that passes it on.
	Prefix func(host string) string
}

// NewClient returns an HTTP client for providers: no proxy, no redirects, no
// compression, no cookies, bounded waits and headers. Hosts with the suffix of
// one of the ways are reached by it.
func NewClient(ways ...Way) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 5 * time.Second}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(address)
		for _, w := range ways {
			if strings.HasSuffix(host, w.Suffix) {
				return w.Dial(ctx, host)
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
	transport := &http.Transport{
		DialContext:            dial,
		DialTLSContext:         dialTLS(dialer),
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: headerBytes,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        10 * time.Second,
		ReadBufferSize:         64 << 10,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if slices.ContainsFunc(ways, func(w Way) bool { return w.Prefix != nil }) {
		client.Transport = prefixing{transport, ways}
	}
	return client
}

// prefixing is a transport that puts the prefixes of ways before paths.
type prefixing struct {
	*http.Transport
	ways []Way
}

// RoundTrip sends a request by its way. The answer names the request as it was
// made.
func (p prefixing) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, w := range p.ways {
		if w.Prefix == nil || !strings.HasSuffix(r.URL.Hostname(), w.Suffix) {
			continue
		}
		sent := r.Clone(r.Context())
		sent.URL.Path, sent.URL.RawPath = w.Prefix(r.URL.Hostname())+r.URL.Path, ""
		resp, err := p.Transport.RoundTrip(sent)
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	}
	return p.Transport.RoundTrip(r)
}

// ParseBase reads a provider's base URL: http or https, a host (an IPv6
// link-local one with its zone, http://[fe80::1%25eth0]:8080), perhaps a path.
func ParseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil && !strings.Contains(text, "://"):
		return nil, fmt.Errorf("provider %.100q: an address begins with http:// or https://", text)
	case err != nil:
		return nil, fmt.Errorf("reading the provider's address: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("provider %.100q: an address begins with http:// or https://", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("provider %.100q has no host", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("provider %.100q: only scheme, host, port and path are used", text)
	}
	return u, nil
}

// Manifest fetches the envelope of the newest release a provider has on a
// channel for an arch. It is at most 1 MiB and comes within ten seconds, or
// the error is a *refusal.Refusal with the code "size", "slow", "busy" or
// "unreachable". It is not verified. The client is one from NewClient.
func Manifest(ctx context.Context, client *http.Client, base, channel, arch string) ([]byte, error) {
	data, _, err := document(ctx, client, base, layout.Manifest(channel, arch), "manifest")
	return data, err
}

// Root fetches the root document of one version, nil when the provider has
// none. Bounds and errors are those of Manifest.
func Root(ctx context.Context, client *http.Client, base string, version uint64) ([]byte, error) {
	data, status, err := document(ctx, client, base, layout.Root(version), "root")
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
	case status >= 300 && status < 500:
		return nil, nil
	}
	return data, err
}

// document fetches a signed document, and returns the status of the answer, 0
// when there was none.
func document(ctx context.Context, client *http.Client, base, path, what string) ([]byte, int, error) {
	u, err := ParseBase(base)
	if err != nil {
		return nil, 0, refusal.New(refusal.Unreachable, "%v", err)
	}
	slow := refusal.New(refusal.Slow, "no %s within %v", what, manifestTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, manifestTimeout, slow)
	defer cancel()
	req, err := newRequest(ctx, u.JoinPath(path))
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, failure(ctx, "asking for the "+what, err)
	}
	defer resp.Body.Close()
	if err := checkStatus(resp, http.StatusOK); err != nil {
		return nil, resp.StatusCode, err
	}
	tooBig := refusal.New(refusal.Size, "the %s is over %d bytes", what, envelope.MaxBytes)
	if resp.ContentLength > envelope.MaxBytes {
		return nil, resp.StatusCode, tooBig
	}
	data, err := readDocument(ctx, resp.Body)
	if err != nil {
		return nil, resp.StatusCode, failure(ctx, "reading the "+what, err)
	}
	if len(data) > envelope.MaxBytes {
		return nil, resp.StatusCode, tooBig
	}
	return data, resp.StatusCode, nil
}

const (
	// usualDocument is more than a manifest or a root takes that anybody made so far.
	usualDocument = 64 << 10
	// largeAtOnce bounds the memory that strangers can fill, however many are
	// asked at once: so many answers may be larger than usual.
	largeAtOnce = 4
)

var large = make(chan struct{}, largeAtOnce)

// readDocument reads up to one byte more than a document may have.
func readDocument(ctx context.Context, body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, usualDocument))
	if err != nil || len(data) < usualDocument {
		return data, err
	}
	select {
	case large <- struct{}{}:
		defer func() { <-large }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	rest, err := io.ReadAll(io.LimitReader(body, envelope.MaxBytes+1-usualDocument))
	return append(data, rest...), err
}

func newRequest(ctx context.Context, u *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	// What is hashed is what was signed: no transformation on the way.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "phase")
	return req, nil
}

// checkStatus turns every answer but the wanted ones into a refusal, final where
// asking again would not help.
func checkStatus(resp *http.Response, want ...int) error {
	refuse := func(code refusal.Code, text string) *refusal.Refusal {
		return refusal.New(code, "%s answered %d %s%s", resp.Request.URL.Path, resp.StatusCode, http.StatusText(resp.StatusCode), text)
	}
	if slices.Contains(want, resp.StatusCode) {
		if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
			return final{refuse(refusal.Format, ", in an encoding that was not asked for")}
		}
		return nil
	}
	switch status := resp.StatusCode; {
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		return refuse(refusal.Busy, "")
	case status >= 500, status == http.StatusRequestTimeout:
		return refuse(refusal.Unreachable, "")
	case status >= 300 && status < 400:
		return final{refuse(refusal.Unreachable, "; a redirect is not followed")}
	}
	return final{refuse(refusal.Unreachable, "")}
}

// failure puts a transport error into the shared codes. The end of ctx has the
// first word, with its cause.
func failure(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if refused, ok := errors.AsType[*refusal.Refusal](err); ok {
		return refused
	}
	// net/http's own timeouts call themselves a DeadlineExceeded too; those are
	// the provider's doing and have a code.
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return refusal.New(refusal.Slow, "%s: %v", doing, inner(err))
	}
	return refusal.New(refusal.Unreachable, "%s: %v", doing, inner(err))
}

// inner takes net/http's "Get \"http://…\": " off an error: the provider is
// named beside it anyway.
func inner(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
