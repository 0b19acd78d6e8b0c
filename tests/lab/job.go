package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"

	"phase/appliance/jobspec"
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
func (n *Node) Job(ctx context.Context, token string, module []byte, input string, change ...func(*jobspec.Job)) (Answer, error) {
	var a Answer
	wanted := jobspec.Default(module)
	for _, c := range change {
		c(&wanted)
	}
	spec, err := jobspec.New(wanted)
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
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := n.HTTPClient().Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("POST /v1/jobs: %s: %s", resp.Status, data)
	}
	return a, json.Unmarshal(data, &a)
}
