package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"mime/multipart"
	"net/http"

	"phase/appliance/compute/history"
	"phase/appliance/compute/job"
	"phase/appliance/daemon/api"
)

// Answer is what a node returned for a job.
type Answer struct {
	JobID    string          `json:"job_id"`
	RunID    string          `json:"run_id"`
	ExitCode int             `json:"exit_code"`
	Outcome  string          `json:"outcome"`
	Stdout   []byte          `json:"stdout_base64"`
	Stderr   []byte          `json:"stderr_base64"`
	Receipt  json.RawMessage `json:"receipt"`
	Worker   string          `json:"worker"` // the peer id of who ran it, where it was not the node itself
}

// Job has the node run a module with input, as the holder of token, within the
// default limits but for what change says.
func (n *Node) Job(ctx context.Context, token string, module []byte, input string, change ...func(*job.Job)) (Answer, error) {
	return n.JobOn(ctx, "", token, module, input, change...)
}

// JobOn is Job, run by a peer of the node, or by the node itself where peer is "".
func (n *Node) JobOn(ctx context.Context, peer, token string, module []byte, input string, change ...func(*job.Job)) (Answer, error) {
	var a Answer
	wanted := job.Default(module)
	for _, c := range change {
		c(&wanted)
	}
	spec, err := job.New(wanted)
	if err != nil {
		return a, err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	type part struct {
		name string
		data []byte
	}
	parts := []part{{"job", spec.File()}, {"module", module}, {"stdin", []byte(input)}}
	if peer != "" {
		parts = append([]part{{"on", []byte(peer)}}, parts...)
	}
	for _, part := range parts {
		w, err := form.CreateFormField(part.name)
		if err != nil {
			return a, err
		}
		if _, err := w.Write(part.data); err != nil {
			return a, err
		}
	}
	if err := form.Close(); err != nil {
		return a, err
	}
	header := bearer(token)
	header.Set("Content-Type", form.FormDataContentType())
	data, err := n.ask(ctx, http.MethodPost, "/v1/jobs", header, &body)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(data, &a)
}

// Receipt asks the node for the receipt of a run that is over.
func (n *Node) Receipt(ctx context.Context, token, runID string) (json.RawMessage, error) {
	data, err := n.ask(ctx, http.MethodGet, "/v1/jobs/"+runID, bearer(token), nil)
	if err != nil {
		return nil, err
	}
	var run struct {
		Receipt json.RawMessage `json:"receipt"`
	}
	return run.Receipt, json.Unmarshal(data, &run)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// Peers asks the node who is connected to it.
func (n *Node) Peers(ctx context.Context, token string) (api.Peers, error) {
	var p api.Peers
	data, err := n.ask(ctx, http.MethodGet, "/v1/peers", bearer(token), nil)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(data, &p)
}

// Order asks the node for something of its updates, as the holder of token.
func (n *Node) Order(ctx context.Context, token, do string) (api.Updated, error) {
	var u api.Updated
	data, err := n.ask(ctx, http.MethodPost, "/v1/update/"+do, bearer(token), nil)
	if err != nil {
		return u, err
	}
	return u, json.Unmarshal(data, &u)
}

// Runs asks the node for the last runs of its jobs, newest first.
func (n *Node) Runs(ctx context.Context, token string) ([]history.Run, error) {
	var p api.Page
	data, err := n.ask(ctx, http.MethodGet, "/v1/jobs", bearer(token), nil)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(data, &p)
	return p.Jobs, err
}
