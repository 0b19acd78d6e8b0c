// wasmtime is C, so its bench is a module of its own: nothing else needs cgo.
module phase/tests/benchwasmtime

go 1.26.3

require github.com/bytecodealliance/wasmtime-go/v39 v39.0.1
