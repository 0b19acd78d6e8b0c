package api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"phase/appliance/base/problem"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/history"
	"phase/appliance/daemon/journal"
)

// How many runs or lines are answered.
const (
	defaultLimit = 100
	maxLimit     = journal.MaxLines
)

// list answers GET /v1/jobs.
func (c Config) list(w http.ResponseWriter, r *http.Request) error {
	query, err := parameters(r, "limit", "before")
	if err != nil {
		return err
	}
	limit, err := count(query, "limit")
	if err != nil {
		return err
	}
	before := query.Get("before")
	if query.Has("before") && !isRunID(before) {
		return bad("before: %.40q is no run_id, which is 32 hex digits", before)
	}
	list, more, err := c.History.List(before, limit)
	if err != nil {
		return err
	}
	page := Page{Jobs: list}
	if list == nil {
		page.Jobs = []history.Run{}
	}
	if more {
		page.Next = &list[len(list)-1].RunID
	}
	return reply(w, http.StatusOK, page)
}

// Page is the answer of GET /v1/jobs. Next is nil when there are no older runs.
type Page struct {
	Jobs []history.Run `json:"jobs"`
	Next *string       `json:"next"`
}

// Detail is the answer of GET /v1/jobs/{run_id}.
type Detail struct {
	history.Run
	Job     []byte         `json:"job"`
	Receipt strictjson.Raw `json:"receipt"` // null unless the run is done
}

// get answers GET /v1/jobs/{run_id}.
func (c Config) get(w http.ResponseWriter, r *http.Request) error {
	id, err := runOf(r)
	if err != nil {
		return err
	}
	e, err := c.History.Get(id)
	if err != nil {
		return err
	}
	d := Detail{Run: e.Run, Job: e.Job, Receipt: e.Receipt}
	if e.Receipt == nil {
		d.Receipt = strictjson.Raw("null")
	}
	return reply(w, http.StatusOK, d)
}

// cancel answers POST /v1/jobs/{run_id}/cancel.
func (c Config) cancel(w http.ResponseWriter, r *http.Request) error {
	id, err := runOf(r)
	if err != nil {
		return err
	}
	run, err := c.Runs.Cancel(id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusAccepted, run)
}

// Node is the answer of GET /v1/node.
type Node struct {
	Name     string `json:"name"`
	PeerID   string `json:"peer_id"`
	Version  string `json:"version"`
	Arch     string `json:"arch"`
	Cores    int    `json:"cores"`
	MemoryMB int    `json:"memory_mb"`
	Running  int    `json:"running"`
	Waiting  int    `json:"waiting"`
	Queue    int    `json:"queue"`
	Stopping bool   `json:"stopping"`
}

// node answers GET /v1/node.
func (c Config) node(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	l := c.Runs.Load()
	return reply(w, http.StatusOK, Node{
		Name: c.Name, PeerID: c.PeerID, Version: c.Version, Arch: c.Arch, Cores: l.Cores, MemoryMB: l.MemoryMB,
		Running: l.Running, Waiting: l.Waiting, Queue: l.Queue, Stopping: l.Stopping,
	})
}

// events answers GET /v1/events.
func (c Config) events(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	if c.Events == nil {
		problem.Write(w, http.StatusNotFound, "this daemon has no page")
		return nil
	}
	c.Events.ServeHTTP(w, r)
	return nil
}

// isRunID says whether text has the form of a run's name.
func isRunID(text string) bool {
	return len(text) == 32 && strings.Trim(text, "0123456789abcdef") == ""
}

// runOf is the run a request names.
func runOf(r *http.Request) (string, error) {
	if _, err := parameters(r); err != nil {
		return "", err
	}
	id := r.PathValue("run_id")
	if !isRunID(id) {
		return "", bad("run_id: %.40q is not 32 hex digits", id)
	}
	return id, nil
}

// parameters are those of the query, each of a known name and there once.
func parameters(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("reading the query: %v", err)
	}
	left := len(query)
	for _, name := range known {
		if len(query[name]) > 1 {
			return nil, bad("%s is there twice", name)
		}
		if query.Has(name) {
			left--
		}
	}
	if left > 0 {
		return nil, bad("the query has a name that is not known here; known are %q", known)
	}
	return query, nil
}

// count reads how many are asked for.
func count(query url.Values, name string) (int, error) {
	if !query.Has(name) {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < 1 || n > maxLimit {
		return 0, bad("%s: %.20q is not a number from 1 to %d", name, query.Get(name), maxLimit)
	}
	return n, nil
}
