// Package api is the node's own interface under /v1: whoever holds the node's
// token has it run jobs and gets their output with a signed receipt. It speaks
// HTTP; the jobs themselves are package job's.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"phase/appliance/job"
	"phase/appliance/jobspec"
	"phase/appliance/problem"
	"phase/appliance/strictjson"
	"phase/appliance/wasm"
)

// Config is what the interface works with.
type Config struct {
	Token  string // of the owner; requests carry it as "Authorization: Bearer TOKEN"
	Runner *job.Runner
}

// MaxStdin is the largest input of a job in bytes.
const MaxStdin = 64 << 20

// Handler serves /v1/jobs. The token is compared before a byte of the body is
// read.
func Handler(c Config) (http.Handler, error) {
	if len(c.Token) < 16 {
		return nil, errors.New("serving /v1: the token must have at least 16 characters")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/jobs", c.post)
	mux.HandleFunc("/v1/jobs", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", http.MethodPost)
		problem.Write(w, http.StatusMethodNotAllowed, "jobs are sent with POST")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, http.StatusNotFound, "there is no such route; POST /v1/jobs runs a job")
	})
	want := sha256.Sum256([]byte(c.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="phase"`)
			problem.WriteCode(w, http.StatusUnauthorized, "NotAuthorized", "send the node's token as Authorization: Bearer TOKEN; the node prints it on its console")
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// post runs one job: multipart/form-data with the parts module and, each
// optional, job (a job file), stdin and offer_nonce.
func (c Config) post(w http.ResponseWriter, r *http.Request) {
	offer, err := read(r)
	if err != nil {
		refuse(w, err)
		return
	}
	// A job may take longer than any limit the server sets for a request.
	control := http.NewResponseController(w)
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil && !errors.Is(err, http.ErrNotSupported) {
		refuse(w, fmt.Errorf("waiting for the job: %w", err))
		return
	}
	done, err := c.Runner.Execute(r.Context(), offer)
	if err != nil {
		refuse(w, err)
		return
	}
	slog.Info("job", "run", done.RunID, "job", done.JobID, "outcome", done.Outcome, "exit", done.ExitCode, "took", done.Finished.Sub(done.Started).Round(time.Millisecond))
	body, err := done.Answer()
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body) // a requester that has left is its own loss
}

// badRequest is an error in the request; large one that is too long.
type badRequest struct {
	status int
	detail string
}

func (b *badRequest) Error() string { return b.detail }

func bad(format string, args ...any) error {
	return &badRequest{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// statuses are the HTTP statuses of rejections.
var statuses = map[job.Reason]int{
	job.InvalidRequest:        http.StatusUnprocessableEntity,
	job.RuntimeNotSupported:   http.StatusUnprocessableEntity,
	job.InsufficientResources: http.StatusUnprocessableEntity,
	job.QueueFull:             http.StatusServiceUnavailable,
}

func refuse(w http.ResponseWriter, err error) {
	var rejection *job.Rejection
	var request *badRequest
	switch {
	case errors.As(err, &rejection):
		if rejection.Reason == job.QueueFull {
			w.Header().Set("Retry-After", "1")
		}
		problem.WriteCode(w, statuses[rejection.Reason], string(rejection.Reason), rejection.Detail)
	case errors.As(err, &request):
		problem.WriteCode(w, request.status, string(job.InvalidRequest), request.detail)
	case errors.Is(err, context.Canceled):
		// The requester has left; nobody reads an answer.
	default:
		slog.Error("job", "error", err)
		problem.Write(w, http.StatusInternalServerError, err.Error())
	}
}

// parts are the parts of a request and how many bytes each may have.
var parts = map[string]int64{
	"job":         strictjson.MaxBytes,
	"module":      wasm.MaxModule,
	"stdin":       MaxStdin,
	"offer_nonce": 64,
}

// read takes a request apart.
func read(r *http.Request) (job.Offer, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return job.Offer{}, &badRequest{http.StatusUnsupportedMediaType, "a job is sent as multipart/form-data with the parts module and, each optional, job, stdin and offer_nonce"}
	}
	got := map[string][]byte{}
	for form := multipart.NewReader(r.Body, params["boundary"]); ; {
		part, err := form.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return job.Offer{}, bad("reading the request: %v", err)
		}
		name := part.FormName()
		limit, known := parts[name]
		if _, twice := got[name]; !known || twice {
			return job.Offer{}, bad("the part %.40q is unknown or there twice; module, job, stdin and offer_nonce are known", name)
		}
		data, err := io.ReadAll(io.LimitReader(part, limit+1))
		if err != nil {
			return job.Offer{}, bad("reading the part %s: %v", name, err)
		}
		if int64(len(data)) > limit {
			return job.Offer{}, &badRequest{http.StatusRequestEntityTooLarge, fmt.Sprintf("the part %s is larger than %d bytes", name, limit)}
		}
		got[name] = data
	}
	return offer(got)
}

// offer makes an offer of a request's parts. Without a job file, the module is
// run with the default limits.
func offer(got map[string][]byte) (job.Offer, error) {
	module, ok := got["module"]
	if !ok {
		return job.Offer{}, bad("the part module is missing")
	}
	o := job.Offer{Module: module, Stdin: got["stdin"], Nonce: string(got["offer_nonce"])}
	var err error
	if file, ok := got["job"]; ok {
		o.Spec, err = jobspec.Parse(file)
	} else {
		o.Spec, err = jobspec.New(jobspec.Default(module))
	}
	if err != nil {
		return job.Offer{}, bad("%v", err)
	}
	if _, ok := got["offer_nonce"]; !ok {
		o.Nonce = job.NewNonce()
	}
	return o, nil
}
