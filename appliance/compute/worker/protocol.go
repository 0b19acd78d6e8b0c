package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
)

// The descriptors of a worker. Its standard error belongs to no job: it carries
// what the Go runtime prints when the worker dies without a report.
const (
	fdDiagnosis = 2
	fdChannel   = 3
)

// order is one request to a worker. It is answered by one report.
type order struct {
	// Do is enter (build the walls; first, once), compile (a module, and end)
	// or run (the module that came with the first such order, again and again).
	Do string `json:"do"`

	// Of enter, with the folders' directories as files.
	Folders []orderFolder `json:"folders,omitempty"`

	// Of compile, with the module as a file, and of run, with stdin, stdout and
	// stderr as files, and the first time the module and its code as well.
	MemoryMB int      `json:"memory_mb,omitempty"`
	Cores    int      `json:"cores,omitempty"`
	Args     [][]byte `json:"args,omitempty"` // the program's name first
	Env      [][]byte `json:"env,omitempty"`
}

// convert makes bytes of texts, or texts of bytes: base64 in JSON, which as a
// string would hold U+FFFD for each byte that is not UTF-8.
func convert[To, From ~string | ~[]byte](list []From) []To {
	var converted []To
	for _, text := range list {
		converted = append(converted, To(text))
	}
	return converted
}

const (
	doEnter   = "enter"
	doCompile = "compile"
	doRun     = "run"
)

type orderFolder struct {
	Guest    []byte `json:"guest"`
	ReadOnly bool   `json:"read_only"`
}

// maxOrder is the most bytes of an order. The kernel gives a program no more than
// 6 MiB of arguments, and seldom more than 2 MiB, of which base64 makes a third more.
const maxOrder = 4 << 20

// report is a worker's answer. The one to compile brings the code, as a file.
type report struct {
	Walls   []string    `json:"walls,omitempty"` // of enter
	Outcome job.Outcome `json:"outcome,omitempty"`
	Code    uint32      `json:"code,omitempty"`
	Detail  string      `json:"detail,omitempty"`
	Refused string      `json:"refused,omitempty"` // why nothing of the module ran
	Stale   bool        `json:"stale,omitempty"`   // it did not because the code is not for this processor
	Failed  string      `json:"failed,omitempty"`  // what is wrong with the worker itself
}

// maxReport is the most bytes of a report: the worker may be under the control
// of the module.
const maxReport = 64 << 10

// encode writes an order.
func (o order) encode() ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing the worker's order: %w", err)
	}
	if len(text) > maxOrder {
		return nil, fmt.Errorf("writing the worker's order: arguments and environment are too large (%d bytes, at most %d)", len(text), maxOrder)
	}
	return text, nil
}

// decode reads an order and holds it to what it must have.
func (o *order) decode(text []byte, files int) error {
	if err := json.Unmarshal(text, o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	var complete bool
	switch o.Do {
	case doEnter:
		complete = files == len(o.Folders)
	case doCompile:
		complete = files == 1 && o.Cores >= 1
	case doRun:
		complete = (files == 3 || files == 5) && o.MemoryMB >= 1 && o.MemoryMB <= job.MaxMemoryMB && o.Cores >= 1
	}
	if !complete {
		return errors.New("reading the order: it is incomplete")
	}
	return nil
}

// receive reads a worker's report, and the code that comes with it if wanted;
// io.EOF when the worker has ended.
func receive(c *sandbox.Channel, code bool) (report, *sandbox.Sealed, error) {
	want := 0
	if code {
		want = 1
	}
	text, files, err := c.Receive(maxReport, want)
	if err != nil {
		return report{}, nil, err
	}
	r, err := decodeReport(text)
	if err != nil || len(files) == 0 {
		for _, f := range files {
			f.Close()
		}
		return r, nil, err
	}
	s, err := sandbox.SealFile(files[0])
	if err == nil && s.Size() > maxCode {
		s.Close()
		err = io.ErrShortBuffer
	}
	if err != nil {
		return report{}, nil, fmt.Errorf("reading the worker's code: %w", err)
	}
	return r, s, nil
}

func decodeReport(text []byte) (r report, err error) {
	if err := json.Unmarshal(text, &r); err != nil {
		return report{}, fmt.Errorf("reading the worker's report: %w", err)
	}
	return r, nil
}
