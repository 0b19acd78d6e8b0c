package modulecache

import (
	"bytes"
	"slices"
	"sync"

	"phase/appliance/base/names"
)

// maxRecent is how many bytes of modules Recent holds.
const maxRecent = 16 << 20

// Recent holds the modules that were sent last. A requester who sends one again
// has it compared as it comes, which takes a tenth of the time of hashing and
// inspecting it; it is compared with what this requester sent, and nothing else.
// The zero value is empty. It is safe for concurrent use.
type Recent struct {
	mu    sync.Mutex
	sent  []sent // the newest last
	bytes int
}

type sent struct {
	requester string
	digest    names.Digest
	module    *Module
}

// Find returns a module that the requester sent and that begins with these
// bytes, or nil.
func (r *Recent) Find(requester string, begin []byte) *Module {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Backward(r.sent) {
		if s.requester == requester && bytes.HasPrefix(s.module.data, begin) {
			return s.module
		}
	}
	return nil
}

// Held returns the module with this digest that the requester sent, or nil.
func (r *Recent) Held(requester string, digest names.Digest) *Module {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sent {
		if s.requester == requester && s.digest == digest {
			return s.module
		}
	}
	return nil
}

// Add holds a module, in the place of the oldest ones. One that would take more
// than half of the room is not held.
func (r *Recent) Add(requester string, m *Module) {
	s := sent{requester, m.Digest(), m}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(m.data) > maxRecent/2 || slices.ContainsFunc(r.sent, func(o sent) bool { return o.requester == requester && o.digest == s.digest }) {
		return
	}
	r.sent = append(r.sent, s)
	for r.bytes += len(m.data); r.bytes > maxRecent; r.sent = slices.Delete(r.sent, 0, 1) {
		r.bytes -= len(r.sent[0].module.data)
	}
}
