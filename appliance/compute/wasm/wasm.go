// Package wasm compiles a WebAssembly module (WASI preview 1) and runs it in this
// process, once or many times. A module can use the streams, arguments,
// environment and folders it is given, and nothing else; there is no network.
// Compiling is a separate step, so that the code can be kept. The package limits
// the module's memory. The worker process that calls it limits time, output and
// everything else (see package scheduler), because running code cannot be
// stopped from inside its process.
package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"
)

// Config is one run of a module.
type Config struct {
	Args    []string // the program's name first
	Env     []string // NAME=VALUE
	Folders []Folder

	// Files, not readers: the module then sees what they are, and can poll.
	Stdin, Stdout, Stderr *os.File
}

// Folder is a directory that the module sees as Guest.
type Folder struct {
	Guest    string
	Dir      *os.File
	ReadOnly bool
}

// End is how a run ended. Code is set for the outcome exited only; Detail says
// why it trapped, or what memory it wanted.
type End struct {
	Outcome job.Outcome
	Code    uint32
	Detail  string
}

// features are the proposals that modules may use beyond WebAssembly 2.0.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesExceptionHandling

// ErrMemory is in the error of Compile and Load when this process has reached its
// memory limit.
var ErrMemory = errors.New("the worker has no more memory")

// Machine holds one module, ready to run. It is used by one goroutine.
type Machine struct {
	program
	memory *memories
	over   string // why it cannot run under its limit, "" if it can
}

// Load makes a machine of a module and the code that Compile made of it. The
// module may have memoryMB MiB of linear memory. The code is not checked: it must
// come from Compile and must not have been changed since.
func Load(ctx context.Context, module, compiled []byte, memoryMB int) (_ *Machine, err error) {
	defer outOfMemory(&err)
	info, err := Inspect(module)
	if err != nil {
		return nil, err
	}
	pages := uint32(memoryMB << 20 / PageSize)
	if info.MemoryPages > uint64(pages) {
		return &Machine{over: fmt.Sprintf("it starts with %d MiB of memory, %d are allowed", info.MemoryPages*PageSize>>20, memoryMB)}, nil
	}
	m := &Machine{memory: &memories{}}
	m.program, err = prepare(ctx, module, pages, &code{known: compiled})
	return m, err
}

// Run runs the module to its end, in an instance of its own. An error means
// that nothing of it ran.
func (m *Machine) Run(ctx context.Context, c Config) (end End, err error) {
	if m.over != "" {
		return End{Outcome: job.Memory, Detail: m.over}, nil
	}
	m.memory.refused = false
	defer func() {
		// wazero panics when it gets no memory, for code or for the module's
		// first pages.
		if p := recover(); p != nil {
			if !m.memory.refused && !isNoMemory(p) {
				panic(p)
			}
			end, err = End{Outcome: job.Memory, Detail: ErrMemory.Error()}, nil
		}
	}()
	s, err := newSystem(c)
	if err != nil {
		return End{}, fmt.Errorf("giving the module its files: %w", err)
	}
	defer s.closeAll()
	return start(experimental.WithMemoryAllocator(s.within(ctx), m.memory), m.program), nil
}

func isNoMemory(p any) bool {
	cause, ok := p.(error)
	return ok && errors.Is(cause, syscall.ENOMEM)
}

// outOfMemory makes an error of wazero's panic.
func outOfMemory(err *error) {
	if p := recover(); p != nil {
		if !isNoMemory(p) {
			panic(p)
		}
		*err = ErrMemory
	}
}

// start runs the module: its start function, then _start of a command or
// _initialize of a reactor.
func start(ctx context.Context, p program) End {
	instance, err := p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		// Its imports are there (see Compile): what goes wrong now, in the start
		// function or while data is put in place, is the module's own doing.
		return ended(err)
	}
	defer instance.Close(ctx) // gives its memory back; how it ended is known by then
	for _, name := range []string{"_start", "_initialize"} {
		if f := instance.ExportedFunction(name); f != nil {
			_, err := f.Call(ctx)
			return ended(err)
		}
	}
	return End{Outcome: job.Exited}
}

// ended says how a call into the module ended.
func ended(err error) End {
	var exit *sys.ExitError
	switch {
	case err == nil:
		return End{Outcome: job.Exited}
	case errors.As(err, &exit):
		return End{Outcome: job.Exited, Code: exit.ExitCode()}
	default:
		detail, _, _ := strings.Cut(err.Error(), "\n")
		return End{Outcome: job.Trapped, Detail: detail}
	}
}

// memories hands wazero linear memory that grows in place.
type memories struct{ refused bool }

func (m *memories) Allocate(_, most uint64) experimental.LinearMemory {
	reserved, err := sandbox.Reserve(most)
	if err != nil {
		m.refused = true
		panic(err)
	}
	return linear{m, reserved}
}

type linear struct {
	of *memories
	*sandbox.Memory
}

// Reallocate returns nil, which is memory.grow's -1, when there is no more.
func (l linear) Reallocate(size uint64) []byte {
	b := l.Grow(size)
	l.of.refused = b == nil && size > 0
	return b
}

// Profile is the system interface that modules are written for.
const Profile = "wasip1"

// Runtime returns the name and version of what runs modules, as receipts state it.
func Runtime() (name, version string) {
	const module = "github.com/tetratelabs/wazero"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return "wazero", d.Version
			}
		}
	}
	return "wazero", "unknown"
}
