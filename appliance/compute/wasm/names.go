package wasm

import "bytes"

// customSection is the number of sections that mean nothing to a module that runs.
const customSection = 0

// unnamed returns a module without its sections called "name", which hold names
// for people to read. wazero reads them, for stack traces that nobody is shown
// here, and refuses a module in which they are damaged or there twice; whereas
// to WebAssembly, what is in a custom section makes no module invalid
// (https://webassembly.github.io/spec/core/appendix/custom.html). A module that
// is not made of sections is returned as it is, to be judged by wazero.
func unnamed(module []byte) []byte {
	if len(module) < 8 {
		return module
	}
	var out []byte
	kept := 0 // up to where it is decided
	for at := 8; at < len(module); {
		size, n := number32(module[at+1:])
		if n == 0 || uint64(size) > uint64(len(module)-at-1-n) {
			return module
		}
		end := at + 1 + n + int(size)
		if module[at] == customSection && isName(module[at+1+n:end]) {
			if out == nil {
				out = make([]byte, 0, len(module)-(end-at))
			}
			out = append(out, module[kept:at]...)
			kept = end
		}
		at = end
	}
	if kept == 0 {
		return module
	}
	return append(out, module[kept:]...)
}

// isName reports whether the body of a custom section begins with "name" as
// its name.
func isName(body []byte) bool {
	const name = "name"
	size, n := number32(body)
	return n > 0 && size == uint32(len(name)) && bytes.HasPrefix(body[n:], []byte(name))
}
