package scheduler

import (
	"bytes"
	"slices"
	"sync"

	"phase/appliance/compute/job"
)

// lately are the modules that came last, with their digests: who sends one
// again and again has it compared, which takes a tenth of hashing it. What it
// answers is what hashing would.
var lately modules

type modules struct {
	mu    sync.Mutex
	known []known // the newest last
	bytes int
}

type known struct {
	module []byte
	hash   string
}

// maxLately is how many bytes of modules are held.
const maxLately = 16 << 20

// Hash is jobspec.Hash, and quick for a module that came lately.
func Hash(module []byte) string { return lately.hash(module, "") }

// hash returns the digest of a module, which may be the one it is said to have,
// if any is.
func (m *modules) hash(module []byte, said string) string {
	m.mu.Lock()
	i := slices.IndexFunc(m.known, func(k known) bool {
		return k.hash == said || said == "" && len(k.module) == len(module) && bytes.Equal(k.module, module)
	})
	var candidate []byte
	if i >= 0 {
		candidate, said = m.known[i].module, m.known[i].hash
	}
	m.mu.Unlock()
	if i >= 0 && bytes.Equal(candidate, module) {
		return said
	}
	hash := job.Hash(module)
	if (hash == said || said == "") && len(module) <= maxLately/2 {
		m.keep(known{module, hash})
	}
	return hash
}

// Lately returns a module that came lately and begins with these bytes, or nil.
// Nobody may change it.
func Lately(begin []byte) []byte { return lately.beginning(begin) }

func (m *modules) beginning(begin []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range slices.Backward(m.known) {
		if bytes.HasPrefix(k.module, begin) {
			return k.module
		}
	}
	return nil
}

func (m *modules) keep(k known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.known, func(other known) bool { return other.hash == k.hash }) {
		return
	}
	m.known = append(m.known, k)
	for m.bytes += len(k.module); m.bytes > maxLately; m.known = slices.Delete(m.known, 0, 1) {
		m.bytes -= len(m.known[0].module)
	}
}
