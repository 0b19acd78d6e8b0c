package modulecache

import (
	"sync"

	"phase/appliance/base/names"
	"phase/appliance/compute/wasm"
)

// Module is a module as a requester sent it. It is hashed and inspected at most
// once, when that is first asked for; from then on its digest stands for it.
type Module struct {
	data    []byte
	digest  func() names.Digest
	inspect func() (wasm.Info, error)
}

// NewModule takes data over: it may not be changed any more.
func NewModule(data []byte) *Module {
	return &Module{
		data:    data,
		digest:  sync.OnceValue(func() names.Digest { return names.Sum(data) }),
		inspect: sync.OnceValues(func() (wasm.Info, error) { return wasm.Inspect(data) }),
	}
}

// Bytes are the module itself.
func (m *Module) Bytes() []byte { return m.data }

// Digest is the module's SHA-256.
func (m *Module) Digest() names.Digest { return m.digest() }

// Inspect is wasm.Inspect of the module: what it says about itself, or why it
// is none.
func (m *Module) Inspect() (wasm.Info, error) { return m.inspect() }
