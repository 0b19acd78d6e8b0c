package wasm

import (
	"context"
	"encoding/binary"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// wasiName is the module whose functions are WASI preview 1.
const wasiName = "wasi_snapshot_preview1"

// function has a letter for each parameter: i for 32 bits, I for 64.
type function struct {
	name, params string
	do           func(*system, call) errno
}

// functions are all of WASI preview 1
// (https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#functions)
// but proc_exit. wazero's own reach files by the paths they once had, know
// neither rights nor moves from folder to folder, and make EIO of most errors;
// those here hold on to descriptors.
var functions = []function{
	{"args_get", "ii", func(s *system, c call) errno { return c.putAll(s.args) }},
	{"args_sizes_get", "ii", func(s *system, c call) errno { return c.putSizes(s.args) }},
	{"environ_get", "ii", func(s *system, c call) errno { return c.putAll(s.env) }},
	{"environ_sizes_get", "ii", func(s *system, c call) errno { return c.putSizes(s.env) }},
	{"clock_res_get", "ii", clockRes},
	{"clock_time_get", "iIi", clockTime},
	{"fd_advise", "iIIi", advise},
	{"fd_allocate", "iII", allocate},
	{"fd_close", "i", closeFile},
	{"fd_datasync", "i", func(s *system, c call) errno { return s.sync(c, mayDatasync) }},
	{"fd_fdstat_get", "ii", fdstat},
	{"fd_fdstat_set_flags", "ii", setFlags},
	{"fd_fdstat_set_rights", "iII", setRights},
	{"fd_filestat_get", "ii", filestat},
	{"fd_filestat_set_size", "iI", setSize},
	{"fd_filestat_set_times", "iIIi", setTimes},
	{"fd_pread", "iiiIi", pread},
	{"fd_prestat_get", "ii", prestat},
	{"fd_prestat_dir_name", "iii", prestatName},
	{"fd_pwrite", "iiiIi", pwrite},
	{"fd_read", "iiii", read},
	{"fd_readdir", "iiiIi", readdir},
	{"fd_renumber", "ii", renumber},
	{"fd_seek", "iIii", seek},
	{"fd_sync", "i", func(s *system, c call) errno { return s.sync(c, maySync) }},
	{"fd_tell", "ii", tell},
	{"fd_write", "iiii", write},
	{"path_create_directory", "iii", createDirectory},
	{"path_filestat_get", "iiiii", pathFilestat},
	{"path_filestat_set_times", "iiiiIIi", pathSetTimes},
	{"path_link", "iiiiiii", link},
	{"path_open", "iiiiiIIii", open},
	{"path_readlink", "iiiiii", readlink},
	{"path_remove_directory", "iii", removeDirectory},
	{"path_rename", "iiiiii", rename},
	{"path_symlink", "iiiii", symlink},
	{"path_unlink_file", "iii", unlink},
	{"poll_oneoff", "iiii", pollOneoff},
	{"proc_raise", "i", func(*system, call) errno { return notsup }},
	{"random_get", "ii", random},
	{"sched_yield", "", func(*system, call) errno { return success }},
	{"sock_accept", "iii", noSocket},
	{"sock_recv", "iiiiii", noSocket},
	{"sock_send", "iiiii", noSocket},
	{"sock_shutdown", "ii", noSocket},
}

// builder returns WASI preview 1 as modules import it. The system that a call
// acts on comes with its context: see inSystem.
func builder(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(wasiName)
	for _, f := range functions {
		params := make([]api.ValueType, len(f.params))
		for i, letter := range f.params {
			params[i] = api.ValueTypeI32
			if letter == 'I' {
				params[i] = api.ValueTypeI64
			}
		}
		do := api.GoModuleFunc(func(ctx context.Context, module api.Module, stack []uint64) {
			stack[0] = uint64(f.do(systemOf(ctx), call{module, stack[:len(params)]}))
		})
		b.NewFunctionBuilder().WithGoModuleFunction(do, params, []api.ValueType{api.ValueTypeI32}).Export(f.name)
	}
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(exit), []api.ValueType{api.ValueTypeI32}, nil).Export("proc_exit")
	return b
}

// call is a call of a function: who calls, and with what.
type call struct {
	api.Module
	params []uint64
}

func (c call) arg(i int) uint32   { return uint32(c.params[i]) }
func (c call) arg64(i int) uint64 { return c.params[i] }

// text is a string that parameters i and i+1 point to. WASI's are UTF-8.
func (c call) text(i int) (string, errno) {
	b, ok := c.Memory().Read(c.arg(i), c.arg(i+1))
	switch {
	case !ok:
		return "", fault
	case !utf8.Valid(b):
		return "", ilseq
	}
	return string(b), success
}

// put32 writes a number to where parameter i points.
func (c call) put32(i int, v uint32) errno {
	if !c.Memory().WriteUint32Le(c.arg(i), v) {
		return fault
	}
	return success
}

func (c call) put64(i int, v uint64) errno {
	if !c.Memory().WriteUint64Le(c.arg(i), v) {
		return fault
	}
	return success
}

// put writes bytes to where parameter i points.
func (c call) put(i int, b []byte) errno {
	if !c.Memory().Write(c.arg(i), b) {
		return fault
	}
	return success
}

// putSizes writes how many strings there are and how long they are, with a zero
// byte each.
func (c call) putSizes(list []string) errno {
	size := 0
	for _, s := range list {
		size += len(s) + 1
	}
	if no := c.put32(0, uint32(len(list))); no != success {
		return no
	}
	return c.put32(1, uint32(size))
}

// putAll writes pointers to strings where the first parameter points, and the
// strings, with a zero byte each, where the second does.
func (c call) putAll(list []string) errno {
	var pointers, text []byte
	for _, s := range list {
		pointers = binary.LittleEndian.AppendUint32(pointers, c.arg(1)+uint32(len(text)))
		text = append(append(text, s...), 0)
	}
	if no := c.put(0, pointers); no != success {
		return no
	}
	return c.put(1, text)
}
