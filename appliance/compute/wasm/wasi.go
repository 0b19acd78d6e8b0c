package wasm

import (
	"context"
	"encoding/binary"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"phase/appliance/compute/hostfs"
)

// wasiName is the module whose functions are WASI preview 1.
const wasiName = "wasi_snapshot_preview1"

// function is a function of WASI. It has a letter for each parameter: i for 32
// bits, I for 64.
type function struct {
	name, params string
	do           handler
}

// handler does what a call asks for.
type handler func(call) errno

// procExit is the one function without a result, as it does not return.
const procExit = "proc_exit"

// results has a letter for each result.
func (f function) results() string {
	if f.name == procExit {
		return ""
	}
	return "i"
}

// functions are all of WASI preview 1
// (https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#functions).
// wazero's own reach files by the paths they once had, know neither rights nor
// moves from folder to folder, and make EIO of most errors; those here hold on
// to descriptors.
var functions = []function{
	{"args_get", "ii", func(c call) errno { return c.putAll(c.args) }},
	{"args_sizes_get", "ii", func(c call) errno { return c.putSizes(c.args) }},
	{"environ_get", "ii", func(c call) errno { return c.putAll(c.env) }},
	{"environ_sizes_get", "ii", func(c call) errno { return c.putSizes(c.env) }},
	{"clock_res_get", "ii", clockRes},
	{"clock_time_get", "iIi", clockTime},
	{"fd_advise", "iIIi", onFile(0, advise)},
	{"fd_allocate", "iII", onFile(mayAllocate, allocate)},
	{"fd_close", "i", func(c call) errno { return c.close(c.arg(0)) }},
	{"fd_datasync", "i", onFile(mayDatasync, func(_ call, d *descriptor) errno { return errnoOf(d.Sync(true)) })},
	{"fd_fdstat_get", "ii", onFile(0, fdstat)},
	{"fd_fdstat_set_flags", "ii", onFile(maySetFlags, setFlags)},
	{"fd_fdstat_set_rights", "iII", onFile(0, setRights)},
	{"fd_filestat_get", "ii", onFile(mayFilestat, filestat)},
	{"fd_filestat_set_size", "iI", onFile(maySetSize, setSize)},
	{"fd_filestat_set_times", "iIIi", onFile(maySetTimes, setTimes)},
	{"fd_pread", "iiiIi", onStream(mayRead, 4, pread)},
	{"fd_prestat_get", "ii", onFile(0, prestat)},
	{"fd_prestat_dir_name", "iii", onFile(0, prestatName)},
	{"fd_pwrite", "iiiIi", onStream(mayWrite, 4, pwrite)},
	{"fd_read", "iiii", onStream(mayRead, 3, read)},
	{"fd_readdir", "iiiIi", onFile(0, readdir)},
	{"fd_renumber", "ii", renumber},
	{"fd_seek", "iIii", onFile(0, seek)},
	{"fd_sync", "i", onFile(maySync, func(_ call, d *descriptor) errno { return errnoOf(d.Sync(false)) })},
	{"fd_tell", "ii", onFile(0, tell)},
	{"fd_write", "iiii", onStream(mayWrite, 3, write)},
	{"path_create_directory", "iii", onPath(0, 1, mayCreateDirectory, createDirectory)},
	{"path_filestat_get", "iiiii", onPath(0, 2, mayPathFilestat, pathFilestat)},
	{"path_filestat_set_times", "iiiiIIi", onPath(0, 2, mayPathSetTimes, pathSetTimes)},
	{"path_link", "iiiiiii", link},
	{"path_open", "iiiiiIIii", open},
	{"path_readlink", "iiiiii", onPath(0, 1, mayReadlink, readlink)},
	{"path_remove_directory", "iii", onPath(0, 1, mayRemoveDirectory, removeDirectory)},
	{"path_rename", "iiiiii", onPaths(1, mayRenameSource, 3, mayRenameTarget, (*hostfs.Folder).Rename)},
	{"path_symlink", "iiiii", symlink},
	{"path_unlink_file", "iii", onPath(0, 1, mayUnlink, unlink)},
	{"poll_oneoff", "iiii", pollOneoff},
	{procExit, "i", exit},
	{"proc_raise", "i", func(call) errno { return notsup }},
	{"random_get", "ii", random},
	{"sched_yield", "", func(call) errno { return success }},
	{"sock_accept", "iii", onFile(0, noSocket)},
	{"sock_recv", "iiiiii", onFile(0, noSocket)},
	{"sock_send", "iiiii", onFile(0, noSocket)},
	{"sock_shutdown", "ii", onFile(0, noSocket)},
}

// onFile is a function whose first parameter is a descriptor, which must have
// these rights.
func onFile(need rights, do func(call, *descriptor) errno) handler {
	return func(c call) errno {
		d, no := c.find(c.arg(0), need)
		if no != success {
			return no
		}
		return do(c, d)
	}
}

// onStream is a function on a file that can be read or written, and on pieces of
// memory, which are the next two parameters. How many bytes of them it took is
// written to where parameter result points.
func onStream(need rights, result int, do func(*descriptor, call, [][]byte) (int, errno)) handler {
	return onFile(0, func(c call, d *descriptor) errno {
		switch {
		case d.folder != nil || d.kind == directory:
			return isdir
		case d.base&need == 0:
			return badf // as read(2) and write(2) have it
		}
		pieces, no := c.vectors(1)
		if no != success {
			return no
		}
		n, no := do(d, c, pieces)
		if no != success {
			return no
		}
		return c.put32(result, uint32(n))
	})
}

// onPath is a function on the path that parameters text and text+1 are, in the
// directory that parameter fd is.
func onPath(fd, text int, need rights, do func(c call, dir *descriptor, name string) errno) handler {
	return func(c call) errno {
		dir, name, no := c.at(fd, text, need)
		if no != success {
			return no
		}
		return do(c, dir, name)
	}
}

// onPaths is a function on two paths. The directory of the first is parameter 0,
// that of the second parameter fd, and its path the next two.
func onPaths(text int, source rights, fd int, target rights, do func(from *hostfs.Folder, old string, to *hostfs.Folder, name string) error) handler {
	return func(c call) errno {
		from, old, no := c.at(0, text, source)
		if no != success {
			return no
		}
		to, name, no := c.at(fd, fd+1, target)
		if no != success {
			return no
		}
		return errnoOf(do(from.folder, old, to.folder, name))
	}
}

// valueTypes are the types that letters stand for.
func valueTypes(letters string) []api.ValueType {
	types := make([]api.ValueType, len(letters))
	for i, letter := range letters {
		types[i] = api.ValueTypeI32
		if letter == 'I' {
			types[i] = api.ValueTypeI64
		}
	}
	return types
}

// builder returns WASI preview 1 as modules import it. The system that a call
// acts on comes with its context: see within.
func builder(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(wasiName)
	for _, f := range functions {
		do := api.GoModuleFunc(func(ctx context.Context, module api.Module, stack []uint64) {
			stack[0] = uint64(f.do(call{module, systemOf(ctx), stack[:len(f.params)]}))
		})
		b.NewFunctionBuilder().WithGoModuleFunction(do, valueTypes(f.params), valueTypes(f.results())).Export(f.name)
	}
	return b
}

// call is a call of a function: who calls, and with what.
type call struct {
	api.Module
	*system
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
