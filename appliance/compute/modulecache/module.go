package modulecache

import (
	"bytes"
	"log/slog"
	"sync"

	"phase/appliance/base/names"
	"phase/appliance/compute/sandbox"
	"phase/appliance/compute/wasm"
)

// Module is a module that a requester has sent, now or before. It is hashed and
// inspected at most once, when that is first asked for; from then on its digest
// stands for it.
type Module struct {
	size    int64
	bytes   func() []byte
	digest  func() names.Digest
	inspect func() (wasm.Info, error)
}

// NewModule takes data over: it may not be changed any more.
func NewModule(data []byte) *Module {
	return &Module{
		size:    int64(len(data)),
		bytes:   func() []byte { return data },
		digest:  sync.OnceValue(func() names.Digest { return names.Sum(data) }),
		inspect: sync.OnceValues(func() (wasm.Info, error) { return wasm.Inspect(data) }),
	}
}

// heldModule is a module that is kept, sealed, under its digest.
func heldModule(digest names.Digest, kept *sandbox.Sealed) *Module {
	return &Module{
		size:   kept.Size(),
		digest: func() names.Digest { return digest },
		bytes: sync.OnceValue(func() (data []byte) {
			if err := kept.Map(func(b []byte) error { data = bytes.Clone(b); return nil }); err != nil {
				slog.Warn("a module that is kept cannot be read", "module", digest, "error", err)
			}
			return data
		}),
		inspect: sync.OnceValues(func() (info wasm.Info, err error) {
			err = kept.Map(func(b []byte) error { info, err = wasm.Inspect(b); return err })
			return info, err
		}),
	}
}

// Size is in bytes.
func (m *Module) Size() int64 { return m.size }

// Bytes are the module itself; of one that is kept, a copy is made when they are
// first asked for.
func (m *Module) Bytes() []byte { return m.bytes() }

// Digest is the module's SHA-256.
func (m *Module) Digest() names.Digest { return m.digest() }

// Inspect is wasm.Inspect of the module: what it says about itself, or why it
// is none.
func (m *Module) Inspect() (wasm.Info, error) { return m.inspect() }
