package scheduler

import (
	"bytes"
	"slices"
	"testing"

	"phase/appliance/compute/job"
)

// TestLately: what is remembered is what hashing would have said, whatever a
// requester claims.
func TestLately(t *testing.T) {
	var m modules
	one, two := []byte("one"), []byte("two")
	for range 2 {
		for _, c := range []struct{ module, of []byte }{{one, one}, {two, two}, {one, two}, {two, one}, {append(bytes.Clone(one), 0), one}} {
			if got := m.hash(c.module, ""); got != job.Hash(c.module) {
				t.Errorf("%q has the digest %s", c.module, got)
			}
			if got := m.hash(c.module, job.Hash(c.of)); got != job.Hash(c.module) {
				t.Errorf("%q said to be %q has the digest %s", c.module, c.of, got)
			}
		}
	}
	if len(m.known) != 3 {
		t.Errorf("%d modules are held", len(m.known))
	}
	for i := range 20 {
		large := slices.Repeat([]byte{byte(i)}, maxLately/8)
		m.hash(large, job.Hash(large))
	}
	total := 0
	for _, k := range m.known {
		total += len(k.module)
	}
	if total > maxLately || total != m.bytes {
		t.Errorf("%d bytes are held, and %d are counted", total, m.bytes)
	}
}
