package api

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/base/strictjson"
	"phase/appliance/daemon/journal"
)

const (
	batch   = 256      // lines that are taken from the log at once
	maxLine = 64 << 10 // bytes of one line of the answer that are read
)

// service is the form of the name of a program.
var service = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// logs answers GET /v1/logs.
func (c Config) logs(w http.ResponseWriter, r *http.Request) error {
	query, err := parameters(r, "lines", "since", "service", "follow")
	if err != nil {
		return err
	}
	n, err := count(query, "lines")
	if err != nil {
		return err
	}
	q := journal.Query{Service: query.Get("service")}
	if query.Has("service") && !service.MatchString(q.Service) {
		return bad("service: %.40q is no name of a program, like update or kernel", q.Service)
	}
	if query.Has("since") {
		if q.Since, err = time.Parse(time.RFC3339, query.Get("since")); err != nil {
			return bad("since: %.40q is no time like 2026-11-30T03:04:05Z", query.Get("since"))
		}
	}
	switch follow := query.Get("follow"); {
	case follow == "true":
		return c.follow(w, r, n, q)
	case query.Has("follow") && follow != "false":
		return bad("follow: %.20q is neither true nor false", follow)
	}
	lines, _ := c.Log.Last(n, q)
	return reply(w, http.StatusOK, journal.Lines{Lines: lines})
}

// follow sends the last n lines, and each that comes, until the requester leaves or
// the daemon ends.
func (c Config) follow(w http.ResponseWriter, r *http.Request, n int, q journal.Query) error {
	leave, ok := c.Log.Enter()
	if !ok {
		w.Header().Set("Retry-After", "1")
		problem.Write(w, http.StatusServiceUnavailable, fmt.Sprintf("%d follow the log already", journal.MaxReaders))
		return nil
	}
	defer leave()
	w.Header().Set("Content-Type", streamType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	if err := control.Flush(); err != nil || r.Method == http.MethodHead {
		return nil
	}
	send := func(lines ...journal.Line) bool {
		// Where there are no deadlines, there is no connection to get stuck.
		_ = control.SetWriteDeadline(time.Now().Add(cmp.Or(c.Patience, defaultPatience)))
		for _, line := range lines {
			data, err := strictjson.Marshal(line)
			if err == nil {
				_, err = w.Write(append(data, '\n'))
			}
			if err != nil {
				return false
			}
		}
		return control.Flush() == nil
	}
	lines, at := c.Log.Last(n, q)
	for {
		if !send(lines...) {
			return nil // the requester has left
		}
		b := c.Log.From(at, batch)
		at, lines = b.Next, lines[:0]
		if b.Missed > 0 {
			lines = append(lines, journal.Lost(b.Missed, time.Now()))
		}
		for _, line := range b.Lines {
			if q.Matches(line) {
				lines = append(lines, line)
			}
		}
		if len(b.Lines) > 0 || len(lines) > 0 {
			continue
		}
		if b.Over {
			return nil
		}
		select {
		case <-b.More:
		case <-r.Context().Done():
			return nil
		}
	}
}

// LogQuery says which lines of a log are asked for: the last ones, 100 where Lines is
// 0, of all programs where Service is "".
type LogQuery struct {
	Lines   int
	Since   time.Time
	Service string
}

func (q LogQuery) path(follow bool) string {
	query := url.Values{"lines": {strconv.Itoa(cmp.Or(q.Lines, defaultLimit))}}
	if !q.Since.IsZero() {
		query.Set("since", q.Since.UTC().Format(time.RFC3339))
	}
	if q.Service != "" {
		query.Set("service", q.Service)
	}
	if follow {
		query.Set("follow", "true")
	}
	return "/v1/logs?" + query.Encode()
}

// Logs returns the last lines of the log.
func (c *Client) Logs(ctx context.Context, q LogQuery) (l journal.Lines, err error) {
	return l, c.call(ctx, http.MethodGet, q.path(false), &l)
}

// FollowLogs hands the last lines of the log to each, and then each that comes, until
// ctx ends or each returns an error, which it returns.
func (c *Client) FollowLogs(ctx context.Context, q LogQuery, each func(journal.Line) error) error {
	resp, err := c.ask(ctx, http.MethodGet, q.path(true), "", streamType, http.NoBody)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line journal.Line
		if err := strictjson.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("reading the daemon's answer: %w", err)
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return errors.New("the log ends here: the daemon was stopped")
}
