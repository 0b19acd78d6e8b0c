package wasm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// importKinds are what a module can import, by the number it has in the format
// (https://webassembly.github.io/spec/core/binary/modules.html#import-section).
var importKinds = [...]string{"function", "table", "memory", "global", "tag"}

const recompile = "only wasi_snapshot_preview1 is offered; recompile it for wasip1"

// checkImports refuses a module that imports anything but WASI's functions, with
// the way out. It reads nothing behind the imports, so a large module costs
// nothing, and fails closed: imports that cannot be read are refused. What their
// types are is left to checkSignatures.
func checkImports(module []byte) error {
	for s := range sections(module) {
		if s.id != importSection {
			continue
		}
		r := &reader{rest: s.body}
		for range r.number() {
			from, name, kind := r.bytes(), r.bytes(), r.byte()
			if int(kind) >= len(importKinds) {
				r.fail()
			}
			if r.bad {
				break
			}
			if kind != 0 || string(from) != wasiName || find(string(name)) == nil {
				return fmt.Errorf("the module imports the %s %.64q of %.64q; %s", importKinds[kind], name, from, recompile)
			}
			r.number() // its type
		}
		if r.bad || len(r.rest) > 0 {
			return errors.New("compiling the module: its imports cannot be read")
		}
	}
	return nil
}

// checkSignatures refuses functions of WASI that are imported with parameters
// or results which they do not have.
func checkSignatures(imported []api.FunctionDefinition) error {
	for _, f := range imported {
		from, name, _ := f.Import()
		wasi := find(name)
		if wasi == nil || !slices.Equal(f.ParamTypes(), valueTypes(wasi.params)) || !slices.Equal(f.ResultTypes(), valueTypes(wasi.results())) {
			return fmt.Errorf("the module imports the function %.64q of %.64q with another signature; %s", name, from, recompile)
		}
	}
	return nil
}

// find returns WASI's function of that name, nil where it has none.
func find(name string) *function {
	if i := slices.IndexFunc(functions, func(f function) bool { return f.name == name }); i >= 0 {
		return &functions[i]
	}
	return nil
}
