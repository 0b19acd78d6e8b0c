// Package protocol is what a node and its worker say to each other: orders, and
// the reports that answer them, each one message of a sandbox.Channel. It also
// holds the limits that both must know.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"

	"phase/appliance/compute/job"
)

// The descriptors of a worker. Its standard error belongs to no job: it carries
// what the Go runtime prints when the worker dies without a report.
const (
	Diagnosis = 2
	Channel   = 3
)

// Order is one request to a worker. It is answered by one Report.
type Order struct {
	// Do is enter (build the walls; first, once), compile (a module, and end)
	// or run (the module that came with the first such order, again and again).
	Do string `json:"do"`

	// Of enter, with the folders' directories as files.
	Folders []Folder `json:"folders,omitempty"`

	// Of compile, with the module as a file, and of run, with stdin, stdout and
	// stderr as files, and the first time the module and its code as well.
	MemoryMB int      `json:"memory_mb,omitempty"`
	Cores    int      `json:"cores,omitempty"`
	Args     [][]byte `json:"args,omitempty"` // the program's name first
	Env      [][]byte `json:"env,omitempty"`
}

// Convert makes bytes of texts, or texts of bytes: base64 in JSON, which as a
// string would hold U+FFFD for each byte that is not UTF-8.
func Convert[To, From ~string | ~[]byte](list []From) []To {
	var converted []To
	for _, text := range list {
		converted = append(converted, To(text))
	}
	return converted
}

// What an order can ask for.
const (
	Enter   = "enter"
	Compile = "compile"
	Run     = "run"
)

// Folder is one that the module sees as Guest.
type Folder struct {
	Guest    []byte `json:"guest"`
	ReadOnly bool   `json:"read_only"`
}

// MaxOrder is the most bytes of an order. The kernel gives a program no more than
// 6 MiB of arguments, and seldom more than 2 MiB, of which base64 makes a third more.
const MaxOrder = 4 << 20

// Report is a worker's answer. The one to compile brings the code, as a file.
type Report struct {
	Walls   []string    `json:"walls,omitempty"` // of enter
	Outcome job.Outcome `json:"outcome,omitempty"`
	Code    uint32      `json:"code,omitempty"`
	Detail  string      `json:"detail,omitempty"`
	Refused string      `json:"refused,omitempty"` // why nothing of the module ran
	Stale   bool        `json:"stale,omitempty"`   // it did not because the code is not for this processor
	Failed  string      `json:"failed,omitempty"`  // what is wrong with the worker itself
}

// MaxReport is the most bytes of a report: the worker may be under the control
// of the module.
const MaxReport = 64 << 10

// Encode writes an order.
func (o Order) Encode() ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing the worker's order: %w", err)
	}
	if len(text) > MaxOrder {
		return nil, fmt.Errorf("writing the worker's order: arguments and environment are too large (%d bytes, at most %d)", len(text), MaxOrder)
	}
	return text, nil
}

// Decode reads an order that came with so many files, and holds it to what it
// must have.
func (o *Order) Decode(text []byte, files int) error {
	if err := json.Unmarshal(text, o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	var complete bool
	switch o.Do {
	case Enter:
		complete = files == len(o.Folders)
	case Compile:
		complete = files == 1 && o.Cores >= 1
	case Run:
		complete = (files == 3 || files == 5) && o.MemoryMB >= 1 && o.MemoryMB <= job.MaxMemoryMB && o.Cores >= 1
	}
	if !complete {
		return errors.New("reading the order: it is incomplete")
	}
	return nil
}

// DecodeReport reads a report, which may be under the control of a module.
func DecodeReport(text []byte) (r Report, err error) {
	if err := json.Unmarshal(text, &r); err != nil {
		return Report{}, fmt.Errorf("reading the worker's report: %w", err)
	}
	return r, nil
}
