package job

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"phase/appliance/jobspec"
	"phase/appliance/sandbox"
	"phase/appliance/wasm"
)

// The descriptors of a worker. Its standard error is not the job's: it tells
// the node why a worker died that could not say so itself.
const (
	fdDiagnosis = 2
	fdOrder     = 3 // read: the order, then the module
	fdReport    = 4 // written once: the report
	fdStderr    = 5 // the job's standard error
	fdFolders   = 6 // the first folder
)

// order is what a worker is told to do. On the pipe stands its length as a
// big-endian uint32, its JSON, and then the module until the end of the pipe.
type order struct {
	Args       []string      `json:"args"` // the program's name first
	Env        []string      `json:"env"`
	Folders    []orderFolder `json:"folders"`
	MemoryMB   int           `json:"memory_mb"`
	Cores      int           `json:"cores"`
	ModuleSize int           `json:"module_size"`
}

type orderFolder struct {
	Guest    string `json:"guest"`
	ReadOnly bool   `json:"read_only"`
}

// maxOrder is the most bytes of an order; arguments and environment of one job
// are at most 512 KiB, which JSON may write six times as long.
const maxOrder = 4 << 20

// report is what a worker says at its end. Refused is set, alone, when nothing
// of the module ran.
type report struct {
	Outcome jobspec.Outcome `json:"outcome,omitempty"`
	Code    uint32          `json:"code,omitempty"`
	Detail  string          `json:"detail,omitempty"`
	Refused string          `json:"refused,omitempty"`
}

// Overhead is what a worker needs beside the module's linear memory, in bytes,
// for a module of this size. Measured on x86_64 as VmData: 108 MB with an empty
// module, 293 MB with the deepest recursion before wazero calls it a stack
// overflow, 62 bytes more for each byte of a module made to be costly.
// TestOverhead holds it to that; little of it is ever touched.
func Overhead(moduleSize int) uint64 {
	const base, perByte = 320 << 20, 64
	return base + perByte*uint64(moduleSize)
}

// Worker is the whole life of a worker process. It returns the exit code: 0
// when it has reported.
func Worker(ctx context.Context) int {
	// The module sees EPIPE when nobody reads its output, and decides itself.
	signal.Ignore(syscall.SIGPIPE)
	report, err := work(ctx, os.NewFile(fdOrder, "order"))
	if err != nil {
		report.Refused = err.Error()
	}
	text, err := json.Marshal(report)
	if err == nil {
		_, err = os.NewFile(fdReport, "report").Write(text)
	}
	if err != nil {
		fmt.Fprintf(os.NewFile(fdDiagnosis, "diagnosis"), "reporting: %v\n", err)
		return 1
	}
	return 0
}

func work(ctx context.Context, pipe io.ReadCloser) (report, error) {
	o, err := readOrder(pipe)
	if err != nil {
		return report{}, err
	}
	overhead := Overhead(o.ModuleSize)
	if err := sandbox.Limit(uint64(o.MemoryMB)<<20 + overhead); err != nil {
		return report{}, err
	}
	runtime.GOMAXPROCS(min(o.Cores, runtime.NumCPU()))
	// Stopping the world waits for code that never looks up, and signals it all
	// the while: collect only when memory is short.
	debug.SetMemoryLimit(int64(overhead / 2))
	debug.SetGCPercent(-1)

	module := make([]byte, o.ModuleSize)
	if _, err := io.ReadFull(pipe, module); err != nil {
		return report{}, fmt.Errorf("reading the module: %w", err)
	}
	if err := pipe.Close(); err != nil {
		return report{}, fmt.Errorf("closing the order: %w", err)
	}
	config := wasm.Config{
		Module: module, Args: o.Args, Env: o.Env, MemoryMB: o.MemoryMB,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.NewFile(fdStderr, "stderr"),
	}
	for i, f := range o.Folders {
		dir := os.NewFile(uintptr(fdFolders+i), f.Guest)
		config.Folders = append(config.Folders, wasm.Folder{Guest: f.Guest, Dir: dir, ReadOnly: f.ReadOnly})
	}
	end, err := wasm.Run(ctx, config)
	return report{Outcome: end.Outcome, Code: end.Code, Detail: end.Detail}, err
}

// readOrder reads the first part of the pipe.
func readOrder(pipe io.Reader) (order, error) {
	var length [4]byte
	if _, err := io.ReadFull(pipe, length[:]); err != nil {
		return order{}, fmt.Errorf("reading the order (a worker is started by plasmd, not by hand): %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxOrder {
		return order{}, errors.New("reading the order: it is too large")
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(pipe, text); err != nil {
		return order{}, fmt.Errorf("reading the order: %w", err)
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return order{}, fmt.Errorf("reading the order: %w", err)
	}
	if o.MemoryMB < 1 || o.MemoryMB > jobspec.MaxMemoryMB || o.Cores < 1 || o.ModuleSize < 0 || o.ModuleSize > wasm.MaxModule {
		return order{}, errors.New("reading the order: a limit is missing")
	}
	return o, nil
}

// encode returns what stands on the pipe before the module.
func (o order) encode() ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("writing the worker's order: %w", err)
	}
	if len(text) > maxOrder {
		return nil, fmt.Errorf("writing the worker's order: arguments and environment are too large (%d bytes, at most %d)", len(text), maxOrder)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...), nil
}
