package api

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"mime/multipart"
	"net/http"
	"sync"
	"time"

	"phase/appliance/base/strictjson"
	"phase/appliance/compute/job"
	"phase/appliance/compute/remote"
)

const (
	// lastInput is how long the rest of a streamed input may take to come once
	// the module has ended.
	lastInput = 10 * time.Second
	// maxEpilogue is how much may stand behind the last part.
	maxEpilogue = 4 << 10
)

// event is one line of a streamed answer.
type event struct {
	Event    string         `json:"event"`
	RunID    string         `json:"run_id,omitempty"`
	JobID    string         `json:"job_id,omitempty"`
	Data     []byte         `json:"data,omitempty"`
	ExitCode *uint32        `json:"exit_code,omitempty"`
	Outcome  job.Outcome    `json:"outcome,omitempty"`
	Receipt  strictjson.Raw `json:"receipt,omitempty"`
	Problem  *Problem       `json:"problem,omitempty"`

	// Of a job on another node.
	Worker   string           `json:"worker,omitempty"`
	Attempt  *remote.Attempt  `json:"attempt,omitempty"` // that came to nothing
	Attempts []remote.Attempt `json:"attempts,omitempty"`
	Replicas []remote.Replica `json:"replicas,omitempty"`
	Liars    []string         `json:"liars,omitzero"`
}

// events writes a streamed answer.
type events struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration           // for a requester to read one event
	failed   context.CancelCauseFunc // the requester is gone

	mu    sync.Mutex
	begin bool
	runs  bool
	end   bool
}

// send writes one event at once.
func (e *events) send(v event) error {
	line, err := strictjson.Marshal(v)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.write(append(line, '\n'))
}

func (e *events) write(line []byte) error {
	if !e.begin {
		e.begin = true
		h := e.w.Header()
		h.Set("Content-Type", streamType)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		e.w.WriteHeader(http.StatusOK)
	}
	// Where there are no deadlines, there is no connection to get stuck.
	_ = e.control.SetWriteDeadline(time.Now().Add(e.patience))
	_, err := e.w.Write(line)
	if err == nil {
		err = e.control.Flush()
	}
	if err != nil {
		e.failed(err)
	}
	return err
}

// running says that the module runs.
func (e *events) running() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs = true
	_ = e.write([]byte(isRunning)) // as in ended
}

const isRunning = `{"event":"running"}` + "\n"

// still says that the module still runs, if it has not read all of the input.
func (e *events) still(in *input) {
	if in.read() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.runs && !e.end {
		_ = e.write([]byte(isRunning)) // as in ended
	}
}

// ended says, once, that the module has ended.
func (e *events) ended() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.end && e.begin {
		e.end = true
		// A requester that has left is noticed in write.
		_ = e.write([]byte(`{"event":"ended"}` + "\n"))
	}
}

func (e *events) begun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begin
}

// output sends what a module writes.
type output struct {
	to   *events
	name string
}

func (o output) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := o.to.send(event{Event: o.name, Data: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// input is the part stdin, read while the module runs.
type input struct {
	body    io.Reader // of the request
	form    *multipart.Reader
	part    io.Reader
	control *http.ResponseController
	ended   func()
	broken  context.CancelCauseFunc

	reading sync.Mutex // one at a time, in order
	over    bool

	mu     sync.Mutex
	hash   hash.Hash
	err    error
	closed bool // the module has ended
}

func (i *input) Read(p []byte) (int, error) {
	i.reading.Lock()
	defer i.reading.Unlock()
	if i.over {
		return 0, io.EOF
	}
	n, err := i.part.Read(p)
	if err == io.EOF {
		if _, next := i.form.NextRawPart(); next != io.EOF {
			err = bad("reading the request: stdin must be the last part when it is streamed")
		}
		// What is left of the body is the end of its encoding: read, the
		// connection can be used again.
		_, _ = io.CopyN(io.Discard, i.body, maxEpilogue)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hash.Write(p[:n])
	if err == nil {
		return n, nil
	}
	i.over = true
	if err != io.EOF && !i.closed {
		i.err = bad("reading the part stdin: %v", err)
		i.broken(i.err)
	}
	return n, io.EOF
}

// read says whether all of it has been read.
func (i *input) read() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.over
}

// Sum says that the module has ended, reads the rest that the requester still
// sends, and returns the digest of all of it.
func (i *input) Sum() (sum [sha256.Size]byte) {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.ended()
	// Where there are no deadlines, the input is no connection.
	_ = i.control.SetReadDeadline(time.Now().Add(lastInput))
	_, _ = io.Copy(io.Discard, i) // it ends with io.EOF whatever happens
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hash.Sum(sum[:0])
	return sum
}

// problem is what was wrong with the input, nil if nothing.
func (i *input) problem() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}
