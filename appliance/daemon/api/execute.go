package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/remote"
	"phase/appliance/compute/scheduler"
)

// Execute sends an offer and returns what came of it: first by the digest of its
// module, and with the module where the node does not hold it. Output goes to the
// offer's Stdout and Stderr, or into Done where they are nil, and is never more
// than the job may write; its Input is sent until the module has ended. Nothing
// of the answer is verified: the caller, who knows which node was asked, does
// that (Done.Verify).
func (c *Client) Execute(ctx context.Context, o scheduler.Offer) (scheduler.Done, error) {
	done, err := c.ExecuteOn(ctx, remote.Where{}, o)
	return done.Done, err
}

// ExecuteOn is Execute by the nodes that where names; by the daemon's own where
// On is "" and there is one replica. Where a node fails and another runs the job
// from the start, an offer with a Stdout or Stderr that has got something is
// given up: what it got does not count any more. The caller verifies the answer
// (Outcome.Verify). With an error, the outcome has the attempts that are known.
func (c *Client) ExecuteOn(ctx context.Context, where remote.Where, o scheduler.Offer) (done remote.Outcome, err error) {
	out := &answered{offer: o}
	out.to = [2]io.Writer{o.Stdout, o.Stderr}
	for i := range out.to {
		if out.to[i] == nil {
			out.to[i] = &out.kept[i]
		}
	}
	if o.Input != nil {
		defer o.Input.Sum() // nothing more of it is read
	}
	sending, end := context.WithCancel(ctx)
	defer end()
	resp, err := c.send(sending, where, o, false)
	var refused *Refused
	if errors.As(err, &refused) && refused.Code == string(scheduler.ModuleNeeded) && o.Module != nil {
		// Nothing has run: the node keeps the nonce of no job that it refuses so.
		resp, err = c.send(sending, where, o, true)
	}
	if errors.As(err, &refused) {
		done.Attempts = refused.Attempts
	}
	if err != nil {
		return done, err
	}
	defer resp.Body.Close()
	err = out.read(resp.Body)
	return out.done, err
}

// answered is a streamed answer that is being read.
type answered struct {
	offer scheduler.Offer
	to    [2]io.Writer // stdout, stderr
	kept  [2]bytes.Buffer
	got   int64 // bytes of output
	done  remote.Outcome
}

// read takes the events of an answer until the last.
func (a *answered) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var e event
		if err := strictjson.Unmarshal(lines.Bytes(), &e, strictjson.Limit(maxAnswer)); err != nil {
			return fmt.Errorf("reading the daemon's answer: %w", err)
		}
		if a.got += int64(len(e.Data)); a.got > a.offer.Spec.OutputBytes() {
			return errors.New("reading the daemon's answer: more output than the job may write")
		}
		if last, err := a.take(e); last || err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return errors.New("reading the daemon's answer: it ends before the job does; the daemon was stopped")
}

// take does what an event of a streamed answer says, and reports whether it is
// the last one.
func (a *answered) take(e event) (last bool, err error) {
	switch e.Event {
	case "stdout":
		_, err = a.to[0].Write(e.Data)
	case "stderr":
		_, err = a.to[1].Write(e.Data)
	case "attempt":
		if e.Attempt == nil {
			return true, errors.New("reading the daemon's answer: an attempt that says nothing")
		}
		return false, a.restart(*e.Attempt)
	case "ended":
		if a.offer.Input != nil {
			a.done.Input = a.offer.Input.Sum()
		}
	case "error":
		if e.Problem == nil {
			return true, errors.New("reading the daemon's answer: an error that says nothing")
		}
		a.done.Attempts = e.Problem.Attempts
		return true, &Refused{*e.Problem}
	case "done":
		if e.ExitCode == nil {
			return true, errors.New("reading the daemon's answer: it has no exit code")
		}
		d := &a.done
		d.JobID, d.RunID, d.ExitCode, d.Outcome, d.Receipt = e.JobID, e.RunID, *e.ExitCode, e.Outcome, e.Receipt
		d.Worker, d.Attempts, d.Replicas, d.Liars = e.Worker, e.Attempts, e.Replicas, e.Liars
		d.Stdout, d.Stderr = a.kept[0].Bytes(), a.kept[1].Bytes()
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("passing on the output: %w", err)
	}
	return false, err
}

// restart forgets the output of an attempt that came to nothing.
func (a *answered) restart(failed remote.Attempt) error {
	if a.got > int64(a.kept[0].Len()+a.kept[1].Len()) {
		return fmt.Errorf("peer %s came to nothing (%s: %s) when some of its output had been passed on; run the job again", failed.Peer, failed.Result, failed.Reason)
	}
	a.got = 0
	a.kept[0].Reset()
	a.kept[1].Reset()
	return nil
}

// send posts an offer, with its module or by its digest alone, and returns the
// streamed answer once the job is admitted; it ends with ctx.
func (c *Client) send(ctx context.Context, where remote.Where, o scheduler.Offer, withModule bool) (*http.Response, error) {
	parts := []filePart{{"job", bytes.NewReader(o.Spec.File())}, {"offer_nonce", strings.NewReader(o.Nonce)}}
	if where.On != "" {
		parts = append(parts, filePart{"on", strings.NewReader(where.On)})
	}
	if where.Replicas > 1 {
		parts = append(parts, filePart{"replicas", strings.NewReader(strconv.Itoa(where.Replicas))})
	}
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
