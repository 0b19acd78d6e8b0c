// Package api is the HTTP interface of a node under /v1, and its client: the
// holder of the owner's token, or a user who may open the unix socket, sends a
// job and gets its receipt, lists and cancels runs, and reads the log.
// openapi.yaml beside it describes every route, and a test compares the two.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/base/strictjson"
	"phase/appliance/compute/history"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/journal"
	"phase/appliance/network/releases"
)

// Config is what the interface works with.
type Config struct {
	Runs    *scheduler.Scheduler
	History *history.History
	Log     *journal.Log // what GET /v1/logs answers
	// Remote has other nodes run jobs; nil where there is no network.
	Remote Remote
	// Peers is what GET /v1/peers answers; nil where the node has no part in the
	// network of nodes.
	Peers func(context.Context) Peers
	// Support writes the archive of GET /v1/support-bundle; nil where there is none.
	Support func(ctx context.Context, w io.Writer) error
	// Update is what /v1/update asks; nil where nothing is updated.
	Update Updater
	// Events answers GET /v1/events; nil where there is no page to keep up to date.
	Events http.Handler
	// Releases are those of other nodes, for the socket alone; nil as Peers. It
	// returns nil before the node is in the network.
	Releases func() *releases.Releases
	// Patience is how long a requester may send nothing of a job, or read
	// nothing of its answer; 0 is 30 s.
	Patience time.Duration
	// Who the node is; its receipts verify against PeerID.
	Name, PeerID, Version, Arch string
}

// NotAuthorized is the code of a request without the right to ask.
const notAuthorized = "NotAuthorized"

// Handler serves /v1 to a requester that sends the token as "Authorization: Bearer
// TOKEN". It is compared before a byte of the body is read.
func Handler(c Config, token string) (http.Handler, error) {
	if len(token) < minToken {
		return nil, fmt.Errorf("serving /v1: the token must have at least %d characters", minToken)
	}
	want, next := sha256.Sum256([]byte(token)), c.mux()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atOnce(w, r)
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="phase"`)
			problem.WriteCode(w, http.StatusUnauthorized, notAuthorized, "send the node's token as Authorization: Bearer TOKEN; the node prints it on its console")
			return
		}
		next.ServeHTTP(w, as(r, "token"))
	}), nil
}

// Socket serves /v1 to users who can open the unix socket; the kernel tells
// their uid (see Peer). It has routes that Handler has not: releases that other
// nodes have, and the way to them.
func Socket(c Config) http.Handler {
	next := c.mux((&network{Config: c}).routes())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atOnce(w, r)
		uid, ok := r.Context().Value(peerKey{}).(uint32)
		if !ok {
			problem.WriteCode(w, http.StatusUnauthorized, notAuthorized, "the kernel does not say who asks")
			return
		}
		next.ServeHTTP(w, as(r, fmt.Sprintf("uid %d", uid)))
	})
}

// atOnce has an answer sent when it is there, before the body has been read.
// Else the server holds it back until more of the body has come, for which both
// sides may wait for ever; it does not do so where the connection is closed
// then. A handler that has read the body takes the header back.
func atOnce(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
}

type requesterKey struct{}

// as is the request in the name of a requester.
func as(r *http.Request, requester string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requesterKey{}, requester))
}

func requester(r *http.Request) string { return r.Context().Value(requesterKey{}).(string) }

// methods are the handlers of one path. An error is the answer when there was
// none yet.
type methods map[string]func(w http.ResponseWriter, r *http.Request) error

// routes are all there are.
func (c Config) routes() map[string]methods {
	return map[string]methods{
		"/v1/jobs":                 {http.MethodPost: c.post, http.MethodGet: c.list},
		"/v1/jobs/{run_id}":        {http.MethodGet: c.get},
		"/v1/jobs/{run_id}/cancel": {http.MethodPost: c.cancel},
		"/v1/events":               {http.MethodGet: c.events},
		"/v1/logs":                 {http.MethodGet: c.logs},
		"/v1/node":                 {http.MethodGet: c.node},
		"/v1/peers":                {http.MethodGet: c.peers},
		"/v1/support-bundle":       {http.MethodGet: c.support},
		"/v1/update":               {http.MethodGet: c.updateStatus},
		"/v1/update/{do}":          {http.MethodPost: c.updateDo},
	}
}

// mux leads to the routes, and to more of them.
func (c Config) mux(more ...map[string]methods) *http.ServeMux {
	mux, routes := http.NewServeMux(), c.routes()
	for _, m := range more {
		maps.Copy(routes, m)
	}
	for path, m := range routes {
		allow := slices.Sorted(maps.Keys(m))
		if m[http.MethodGet] != nil {
			m[http.MethodHead] = m[http.MethodGet]
			allow = append(allow, http.MethodHead)
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			handle, ok := m[r.Method]
			if !ok {
				w.Header().Set("Allow", strings.Join(allow, ", "))
				problem.Write(w, http.StatusMethodNotAllowed, path+" is for "+strings.Join(allow, ", "))
				return
			}
			if err := handle(w, r); err != nil {
				refuse(w, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, http.StatusNotFound, "there is no such route; POST /v1/jobs runs a job, GET /v1/jobs lists them")
	})
	return mux
}

// reply sends one JSON object.
func reply(w http.ResponseWriter, status int, v any) error {
	body, err := strictjson.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	body = append(body, '\n')
	head(w, status, len(body))
	_, _ = w.Write(body) // a requester that has left is its own loss
	return nil
}

func head(w http.ResponseWriter, status, length int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", fmt.Sprint(length))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
}

// badRequest is an error in the request.
type badRequest struct {
	status int
	detail string
}

func (b *badRequest) Error() string { return b.detail }

func bad(format string, args ...any) error {
	return &badRequest{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// statuses are the HTTP statuses of rejections.
var statuses = map[scheduler.Reason]int{
	scheduler.InvalidRequest:        http.StatusUnprocessableEntity,
	scheduler.RuntimeNotSupported:   http.StatusUnprocessableEntity,
	scheduler.InsufficientResources: http.StatusUnprocessableEntity,
	scheduler.ArchMismatch:          http.StatusUnprocessableEntity,
	scheduler.ModuleNeeded:          http.StatusUnprocessableEntity,
	scheduler.NotAuthorized:         http.StatusForbidden,
	scheduler.QueueFull:             http.StatusServiceUnavailable,
}

// judge is the answer that an error has.
func judge(err error) Problem {
	var elsewhere *elsewhereError
	if errors.As(err, &elsewhere) {
		return elsewhere.judge()
	}
	return Problem{Document: judgeHere(err)}
}

// judgeHere is judge for what no other node has to do with.
func judgeHere(err error) problem.Document {
	var rejection *scheduler.Rejection
	var request *badRequest
	switch {
	case errors.As(err, &rejection):
		return problem.New(statuses[rejection.Reason], string(rejection.Reason), rejection.Detail)
	case errors.As(err, &request):
		return problem.New(request.status, string(scheduler.InvalidRequest), request.detail)
	case errors.Is(err, history.ErrUnknown):
		return problem.New(http.StatusNotFound, "", "there is no such run, or it has given way to newer ones")
	case errors.Is(err, scheduler.ErrOver), errors.Is(err, scheduler.ErrCancelled):
		return problem.New(http.StatusConflict, "", err.Error())
	case errors.Is(err, context.Canceled):
		// Nobody reads this answer.
		return problem.New(http.StatusConflict, "", "the requester has left")
	}
	slog.Error("api", "error", err)
	return problem.New(http.StatusInternalServerError, "", err.Error())
}

func refuse(w http.ResponseWriter, err error) {
	p := judge(err)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	problem.Send(w, p.Status, p)
}
