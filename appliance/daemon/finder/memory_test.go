package finder_test

import (
	"io"

	"phase/appliance/release/fetch"
)

// memory is where a release is fetched to.
type memory map[string]*region

// Region makes a place.
func (m memory) Region(name string, size int64) (fetch.Region, error) {
	m[name] = &region{data: make([]byte, size)}
	return m[name], nil
}

type region struct{ data []byte }

// WriteAt writes.
func (r *region) WriteAt(p []byte, at int64) (int, error) { return copy(r.data[at:], p), nil }

// ReadAt reads.
func (r *region) ReadAt(p []byte, at int64) (int, error) {
	if n := copy(p, r.data[at:]); n < len(p) {
		return n, io.EOF
	}
	return len(p), nil
}

// Have is nothing.
func (r *region) Have() int64 { return 0 }

// Keep keeps nothing.
func (r *region) Keep(int64) error { return nil }
