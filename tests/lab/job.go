package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"

	"phase/appliance/compute/job"
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
}

// Job has the node run a module with input, as the holder of token, within the
// default limits but for what change says.
func (n *Node) Job(ctx context.Context, token string, module []byte, input string, change ...func(*job.Job)) (Answer, error) {
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
	for _, part := range []struct {
		name string
		data []byte
	}{{"job", spec.File()}, {"module", module}, {"stdin", []byte(input)}} {
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL()+"/v1/jobs", &body)
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	data, err := n.authorized(token, req)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(data, &a)
}

// Receipt asks the node for the receipt of a run that is over.
func (n *Node) Receipt(ctx context.Context, token, runID string) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+"/v1/jobs/"+runID, nil)
	if err != nil {
		return nil, err
	}
	data, err := n.authorized(token, req)
	if err != nil {
		return nil, err
	}
	var run struct {
		Receipt json.RawMessage `json:"receipt"`
	}
	return run.Receipt, json.Unmarshal(data, &run)
}

// authorized asks as the holder of token, and returns the body of a 200 answer.
func (n *Node) authorized(token string, req *http.Request) ([]byte, error) {
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := n.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, data)
	}
	return data, nil
}
