// Package inside is what runs in a worker process: it builds the walls around
// itself, then follows the orders of the node that started it.
package inside

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/wasm"
	"phase/appliance/compute/worker/protocol"
)

// Main is the whole life of a worker process. It returns the exit code: 0 when
// the node has closed the channel, which ends it.
func Main(ctx context.Context) int {
	// The module sees EPIPE when its output has no reader, and decides itself.
	signal.Ignore(syscall.SIGPIPE)
	channel, err := sandbox.OpenChannel(os.NewFile(protocol.Channel, "channel"))
	if err == nil {
		err = (&state{channel: channel}).serve(ctx)
	}
	if err != nil {
		fmt.Fprintf(os.NewFile(protocol.Diagnosis, "diagnosis"), "a worker is started by plasmd, not by hand: %v\n", err)
		return 1
	}
	return 0
}

// state is that of the worker process.
type state struct {
	channel *sandbox.Channel
	walls   bool
	folders []wasm.Folder
	machine *wasm.Machine
	after   uint64 // bytes on the heap after it was last cleaned
}

// serve follows orders until the channel is closed.
func (w *state) serve(ctx context.Context) error {
	for {
		text, files, err := w.channel.Receive(protocol.MaxOrder, sandbox.MaxFiles)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var o protocol.Order
		if err := o.Decode(text, len(files)); err != nil {
			return err
		}
		if w.walls == (o.Do == protocol.Enter) {
			return errors.New("the walls are built first, and once")
		}
		r, code := w.do(ctx, o, files)
		answer, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		if err := w.channel.Send(answer, code...); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		w.clean()
	}
}

// do follows one order. The code of a module comes with the report.
func (w *state) do(ctx context.Context, o protocol.Order, files []*os.File) (protocol.Report, []*os.File) {
	switch o.Do {
	case protocol.Enter:
		return w.enter(o, files), nil
	case protocol.Compile:
		return compile(ctx, o, files[0])
	default:
		return w.run(ctx, o, files), nil
	}
}

// enter builds the walls.
func (w *state) enter(o protocol.Order, dirs []*os.File) protocol.Report {
	// Stopping the world waits for a module's loops without a preemption point,
	// and signals them all the while: the heap is cleaned between runs, and in
	// them only when memory is short.
	debug.SetGCPercent(-1)
	var openings []sandbox.Opening
	for i, f := range o.Folders {
		openings = append(openings, sandbox.Opening{Dir: dirs[i], ReadOnly: f.ReadOnly})
		w.folders = append(w.folders, wasm.Folder{Guest: string(f.Guest), Dir: dirs[i], ReadOnly: f.ReadOnly})
	}
	walls, err := sandbox.Enter(openings)
	if err != nil {
		return protocol.Report{Failed: err.Error()}
	}
	w.walls = true
	return protocol.Report{Walls: walls}
}

// limit limits the memory and the cores of this process, before the first byte
// of a module is read.
func limit(linear uint64, moduleSize int64, cores int) error {
	if err := sandbox.LimitData(protocol.Data(linear, moduleSize)); err != nil {
		return err
	}
	runtime.GOMAXPROCS(min(cores, runtime.NumCPU()))
	debug.SetMemoryLimit(int64(protocol.Overhead(moduleSize) / 2))
	return nil
}

// module maps the module that came with an order, once this process is limited
// for it (see limit).
func module(file *os.File, linear uint64, cores int) ([]byte, error) {
	sealed, err := sandbox.Received(file)
	if err != nil {
		return nil, err
	}
	if err := limit(linear, sealed.Size(), cores); err != nil {
		return nil, err
	}
	return sealed.MapForever()
}

// compile makes the code of a module. The process that does so never runs any.
func compile(ctx context.Context, o protocol.Order, file *os.File) (protocol.Report, []*os.File) {
	module, err := module(file, 0, o.Cores)
	if err != nil {
		return protocol.Report{Failed: err.Error()}, nil
	}
	code, err := wasm.Compile(ctx, module)
	if errors.Is(err, wasm.ErrMemory) {
		return protocol.Report{Outcome: job.Memory, Detail: err.Error()}, nil
	}
	if err != nil {
		return protocol.Report{Refused: err.Error()}, nil
	}
	made, err := sandbox.Seal("compiled", bytes.NewReader(code))
	if err != nil {
		return protocol.Report{Failed: err.Error()}, nil
	}
	return protocol.Report{Outcome: job.Exited}, []*os.File{made.File()}
}

// load prepares the module that came with the first order to run.
func (w *state) load(ctx context.Context, o protocol.Order, files []*os.File) error {
	module, err := module(files[0], uint64(o.MemoryMB)<<20, o.Cores)
	if err != nil {
		return err
	}
	sealed, err := sandbox.Received(files[1])
	if err != nil {
		return err
	}
	defer sealed.Close()
	return sealed.Map(func(code []byte) error {
		w.machine, err = wasm.Load(ctx, module, code, o.MemoryMB)
		return err
	})
}

// run runs the module once.
func (w *state) run(ctx context.Context, o protocol.Order, files []*os.File) protocol.Report {
	for _, f := range files[:3] {
		defer f.Close() // tells the node that there is no more
	}
	if (w.machine == nil) != (len(files) == 5) {
		return protocol.Report{Failed: "one module a worker"}
	}
	if w.machine == nil {
		switch err := w.load(ctx, o, files[3:]); {
		case errors.Is(err, wasm.ErrMemory):
			return protocol.Report{Outcome: job.Memory, Detail: err.Error()}
		case err != nil:
			return protocol.Report{Refused: err.Error(), Stale: errors.Is(err, wasm.ErrStale)}
		}
	}
	end, err := w.machine.Run(ctx, wasm.Config{
		Args: protocol.Convert[string](o.Args), Env: protocol.Convert[string](o.Env), Folders: w.folders,
		Stdin: files[0], Stdout: files[1], Stderr: files[2],
	})
	if err != nil {
		return protocol.Report{Refused: err.Error()}
	}
	return protocol.Report{Outcome: end.Outcome, Code: end.Code, Detail: end.Detail}
}

// maxGarbage is how many bytes runs may leave on the heap before it is cleaned.
const maxGarbage = 16 << 20

// clean frees what runs have left on the heap, when that has become much. The
// node has its report already.
func (w *state) clean() {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	if now.HeapAlloc < w.after+maxGarbage {
		return
	}
	runtime.GC()
	runtime.ReadMemStats(&now)
	w.after = now.HeapAlloc
}
