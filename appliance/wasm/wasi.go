package wasm

import (
	"context"
	"io/fs"
	"path"
	"reflect"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Error numbers of WASI preview 1
// (https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#errno).
const (
	success = 0
	badf    = 8
	exist   = 20
	fault   = 21
	inval   = 28
	ioerr   = 29
	isdir   = 31
	loop    = 32
	toolong = 37
	noent   = 44
	nosys   = 52
	notdir  = 54
	notsock = 57
	notsup  = 58
	perm    = 63
	rofs    = 69
)

// wasiErrno is the number of an error that a folder gives.
func wasiErrno(no experimental.Errno) uint32 {
	switch no {
	case 0:
		return success
	case experimental.EBADF:
		return badf
	case experimental.EEXIST:
		return exist
	case experimental.EINVAL:
		return inval
	case experimental.EISDIR:
		return isdir
	case experimental.ELOOP:
		return loop
	case experimental.ENAMETOOLONG:
		return toolong
	case experimental.ENOENT:
		return noent
	case experimental.ENOSYS:
		return nosys
	case experimental.ENOTDIR:
		return notdir
	case experimental.ENOTSUP:
		return notsup
	case experimental.EPERM:
		return perm
	case experimental.EROFS:
		return rofs
	}
	return ioerr
}

// builder returns WASI preview 1 as modules import it: wazero's, and in the
// place of what wazero leaves out, functions of our own.
func builder(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	const i32 = api.ValueTypeI32
	for name, f := range map[string]struct {
		params int
		do     func(ctx context.Context, c call) uint32
	}{
		"fd_prestat_dir_name": {3, prestatName},
		"fd_renumber":         {2, renumber},
		"path_link":           {7, link},
		"path_readlink":       {6, readlink},
		"poll_oneoff":         {4, pollOneoff},
		"sock_shutdown":       {2, shutdown},
	} {
		params := make([]api.ValueType, f.params)
		for i := range params {
			params[i] = i32
		}
		do := api.GoModuleFunc(func(ctx context.Context, module api.Module, stack []uint64) {
			stack[0] = uint64(f.do(ctx, call{module, stack}))
		})
		b.NewFunctionBuilder().WithGoModuleFunction(do, params, []api.ValueType{i32}).Export(name)
	}
	return b
}

// call is a call of a host function.
type call struct {
	api.Module
	params []uint64
}

func (c call) arg(i int) uint32 { return uint32(c.params[i]) }

// system is the state of the module's WASI, which wazero keeps in fields and
// methods that are exported from packages that are not. TestDescriptors goes
// red when another version of wazero has them otherwise.
func (c call) system() reflect.Value { return reflect.ValueOf(c.Module).Elem().FieldByName("Sys") }

func (c call) table() reflect.Value { return c.system().MethodByName("FS").Call(nil)[0] }

// descriptor is wazero's FileEntry.
type descriptor struct{ entry reflect.Value }

func (c call) descriptor(fd uint32) (descriptor, bool) {
	found := c.table().MethodByName("LookupFile").Call([]reflect.Value{reflect.ValueOf(int32(fd))})
	if !found[1].Bool() {
		return descriptor{}, false
	}
	return descriptor{found[0].Elem()}, true
}

func (d descriptor) file() experimental.File {
	return d.entry.FieldByName("File").Interface().(experimental.File)
}
func (d descriptor) name() string           { return d.entry.FieldByName("Name").String() }
func (d descriptor) preopen() reflect.Value { return d.entry.FieldByName("IsPreopen") }

// at finds the file system and the path in it of a path that a module names
// from a directory.
func (c call) at(fd, from, size uint32) (experimental.FS, string, uint32) {
	text, ok := c.Memory().Read(from, size)
	if !ok {
		return nil, "", fault
	}
	name := path.Clean(string(text))
	if !fs.ValidPath(name) {
		return nil, "", perm
	}
	if strings.HasSuffix(string(text), "/") {
		name += "/"
	}
	d, ok := c.descriptor(fd)
	if !ok {
		return nil, "", badf
	}
	if isDir, no := d.file().IsDir(); no != 0 || !isDir {
		return nil, "", notdir
	}
	system, ok := d.entry.FieldByName("FS").Interface().(experimental.FS)
	if !ok {
		return nil, "", badf
	}
	if !d.preopen().Bool() {
		name = d.name() + "/" + name
	}
	return system, name, success
}

// prestatName gives the name of a folder whose buffer may be too long; wazero
// takes one that is too short.
func prestatName(_ context.Context, c call) uint32 {
	d, ok := c.descriptor(c.arg(0))
	if !ok || !d.preopen().Bool() {
		return badf
	}
	if isDir, _ := d.file().IsDir(); !isDir {
		return notdir
	}
	if int(c.arg(2)) < len(d.name()) {
		return toolong
	}
	if !c.Memory().WriteString(c.arg(1), d.name()) {
		return fault
	}
	return success
}

// renumber moves a descriptor onto another that is open, be they standard
// streams and folders, which wazero leaves where they are.
func renumber(_ context.Context, c call) uint32 {
	from, ok := c.descriptor(c.arg(0))
	to, open := c.descriptor(c.arg(1))
	switch {
	case !ok || !open:
		return badf
	case c.arg(0) == c.arg(1):
		return success
	}
	given := from.preopen().Bool()
	from.preopen().SetBool(false)
	to.preopen().SetBool(false)
	no := c.table().MethodByName("Renumber").Call([]reflect.Value{
		reflect.ValueOf(int32(c.arg(0))), reflect.ValueOf(int32(c.arg(1)))})[0].Interface().(experimental.Errno)
	from.preopen().SetBool(given) // the entry has moved
	return wasiErrno(no)
}

// link gives a file another name. Following a link at the end is refused, as
// other runtimes do.
func link(_ context.Context, c call) uint32 {
	if c.arg(1) != 0 {
		return inval
	}
	old, oldName, no := c.at(c.arg(0), c.arg(2), c.arg(3))
	if no != success {
		return no
	}
	given, name, no := c.at(c.arg(4), c.arg(5), c.arg(6))
	if no != success {
		return no
	}
	if old != given {
		return notsup
	}
	return wasiErrno(old.Link(oldName, name))
}

// readlink fills a buffer that may be too short, as readlink(2) does; wazero
// has an error for that.
func readlink(_ context.Context, c call) uint32 {
	system, name, no := c.at(c.arg(0), c.arg(1), c.arg(2))
	if no != success {
		return no
	}
	target, failed := system.Readlink(name)
	if failed != 0 {
		return wasiErrno(failed)
	}
	target = target[:min(len(target), int(c.arg(4)))]
	if !c.Memory().WriteString(c.arg(3), target) || !c.Memory().WriteUint32Le(c.arg(5), uint32(len(target))) {
		return fault
	}
	return success
}

// shutdown refuses, as no descriptor is a socket.
func shutdown(_ context.Context, c call) uint32 {
	if _, ok := c.descriptor(c.arg(0)); !ok {
		return badf
	}
	return notsock
}
