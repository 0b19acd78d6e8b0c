package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
)

// post runs one job: multipart/form-data with the parts job (a job file) or
// module or both and, each optional, stdin, offer_nonce, on and replicas.
func (c Config) post(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	place, err := c.Runs.Enter(requester(r))
	if err != nil {
		return err
	}
	defer place.Leave()
	streamed := wantsStream(r)
	control := http.NewResponseController(w)
	body := &bodyTimeout{ReadCloser: r.Body, control: control, patience: cmp.Or(c.Patience, defaultPatience)}
	r.Body = body
	request, err := read(r, streamed, place)
	if err != nil {
		return err
	}
	w.Header().Del("Connection")
	// A job may take longer than any limit the server sets for a request, and
	// so may the input that a person types.
	body.off = true
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("waiting for the job: %w", err)
	}
	if streamed {
		return c.stream(r, &events{w: w, control: control, patience: body.patience}, place, request)
	}
	done, err := c.execute(r.Context(), place, request, nil)
	if err != nil {
		return err
	}
	answer, err := strictjson.Marshal(answerOf(done))
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	deliver(w, control, body.patience, answer)
	return nil
}

// answerOf is the object that tells of a job: that of one here names no worker.
func answerOf(done remote.Outcome) any {
	if done.Worker == "" {
		return done.Done.Answer()
	}
	return done.Answer()
}

// deliver sends the answer of a job to a requester who may have stopped to read.
func deliver(w http.ResponseWriter, control *http.ResponseController, patience time.Duration, answer []byte) {
	head(w, http.StatusOK, len(answer))
	for piece := range slices.Chunk(answer, 256<<10) {
		_ = control.SetWriteDeadline(time.Now().Add(patience)) // as in bodyTimeout
		if _, err := w.Write(piece); err != nil {
			return // a requester that has left is its own loss
		}
	}
}

// streamType is what is accepted for a streamed answer.
const streamType = "application/x-ndjson"

// wantsStream says whether the requester accepts a streamed answer by name.
func wantsStream(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for _, one := range strings.Split(line, ",") {
			kind, params, err := mime.ParseMediaType(one)
			if err != nil || kind != streamType {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			return params["q"] == "" || err == nil && q > 0
		}
	}
	return false
}

// stream runs a job and sends an event for each step and each output of it. The
// error is one that comes before the first event.
func (c Config) stream(r *http.Request, events *events, place *scheduler.Place, request request) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	events.failed = cancel
	o := &request.offer
	o.Stdout, o.Stderr = output{events, "stdout"}, output{events, "stderr"}
	var in *input
	if request.streamed != nil {
		// What comes in is read while what comes out is written. The error is
		// of protocols that do that anyway.
		_ = events.control.EnableFullDuplex()
		in = &input{
			body: r.Body, form: request.form, part: request.streamed, control: events.control,
			ended: events.ended, broken: cancel, hash: sha256.New(),
		}
		o.Input = in
		go disconnect(ctx, func() { events.still(in) }, func() { cancel(context.Canceled) })
	}
	done, err := c.execute(ctx, place, request, events)
	if in != nil && in.problem() != nil {
		err = in.problem()
	}
	switch {
	case err == nil:
		events.ended() // where it was not said: of a job elsewhere
		events.send(event{
			Event: "done", RunID: done.RunID, JobID: done.JobID, ExitCode: &done.ExitCode, Outcome: done.Outcome, Receipt: done.Receipt,
			Worker: done.Worker, Attempts: done.Attempts, Replicas: done.Replicas, Liars: done.Liars,
		})
	case events.begun():
		p := judge(err)
		events.send(event{Event: "error", Problem: &p})
	default:
		return err
	}
	return nil
}
