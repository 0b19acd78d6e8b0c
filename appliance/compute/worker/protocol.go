package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/wasm"
)

// The descriptors of a worker. Its standard error is no job's: it tells the
// node why a worker died that could not say so itself.
const (
	fdDiagnosis = 2
	fdChannel   = 3
)

// order is what a worker is told to do. Each is answered by one report.
type order struct {
	// Do is enter (build the walls; first, once), compile (a module, and end)
	// or run (the module that came with the first such order, again and again).
	Do string `json:"do"`

	// Of enter, with the folders' directories as files.
	Folders []orderFolder `json:"folders,omitempty"`

	// Of compile, with the module as a file, and of run, with stdin, stdout and
	// stderr as files, and at the first time the module and its code.
	MemoryMB int   `json:"memory_mb,omitempty"`
	Cores    int   `json:"cores,omitempty"`
	Args     words `json:"args,omitempty"` // the program's name first
	Env      words `json:"env,omitempty"`
}

// words are texts of any bytes. As strings, JSON would hold U+FFFD for each
// byte that is not UTF-8.
type words []string

func (w words) MarshalJSON() ([]byte, error) {
	list := make([][]byte, len(w))
	for i, word := range w {
		list[i] = []byte(word)
	}
	return json.Marshal(list)
}

func (w *words) UnmarshalJSON(text []byte) error {
	var list [][]byte
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*w = make(words, len(list))
	for i, word := range list {
		(*w)[i] = string(word)
	}
	return nil
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

// report is a worker's answer. Of compile the code comes with it, as a file.
type report struct {
	Walls   []string    `json:"walls,omitempty"` // of enter
	Outcome job.Outcome `json:"outcome,omitempty"`
	Code    uint32      `json:"code,omitempty"`
	Detail  string      `json:"detail,omitempty"`
	Refused string      `json:"refused,omitempty"` // nothing of the module ran: why
	Stale   bool        `json:"stale,omitempty"`   // … because the code is not for this processor
	Failed  string      `json:"failed,omitempty"`  // the worker itself is not fit
}

// maxReport is the most bytes of a report from a worker that may have been
// taken over.
const maxReport = 64 << 10

// Overhead is what a worker needs beside the module's linear memory, in bytes,
// for a module of this size. Measured on x86_64 as VmData: 108 MB with an empty
// module, 293 MB with the deepest recursion before wazero calls it a stack
// overflow, 62 bytes more for each byte of a module made to be costly.
// TestOverhead holds it to that; little of it is ever touched.
func Overhead(moduleSize int) uint64 {
	const base, perByte = 320 << 20, 64
	return base + perByte*uint64(moduleSize)
}

// Charge is what a worker may be charged with in all, in bytes, for a module of
// this size and its linear memory: its data, and what RLIMIT_DATA does not
// count, which is the program's own pages, page tables, what pipes and sockets
// hold, and the file in memory that compiled code leaves it in.
func Charge(linear uint64, moduleSize int) uint64 {
	const beside, code = 64 << 20, maxCode / wasm.MaxModule
	return linear + Overhead(moduleSize) + beside + code*uint64(moduleSize)
}

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
	limits := o.MemoryMB >= 1 && o.MemoryMB <= job.MaxMemoryMB && o.Cores >= 1
	var sound bool
	switch o.Do {
	case doEnter:
		sound = files == len(o.Folders)
	case doCompile:
		sound = files == 1 && o.Cores >= 1
	case doRun:
		sound = limits && (files == 3 || files == 5)
	}
	if !sound {
		return errors.New("reading the order: it is incomplete")
	}
	return nil
}

// receive reads a worker's report; io.EOF when the worker has gone.
func receive(c *sandbox.Channel, code bool) (report, *sandbox.Sealed, error) {
	want := 0
	if code {
		want = 1
	}
	text, files, err := c.Receive(maxReport, want)
	if err != nil {
		return report{}, nil, err
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		for _, f := range files {
			f.Close()
		}
		return report{}, nil, fmt.Errorf("reading the worker's report: %w", err)
	}
	if len(files) == 0 {
		return r, nil, nil
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

// maxCode is the most code in bytes that a module may be compiled to: what
// compilers make of code is about five times as large.
const maxCode = 16 * wasm.MaxModule
