package history

import (
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// view reads, and update changes, what is kept.
func (h *History) view(do func(*bbolt.Tx) error) error {
	return h.guard(func() error { return h.db.View(do) })
}

func (h *History) update(do func(*bbolt.Tx) error) error {
	return h.guard(func() error { return h.db.Update(do) })
}

// guard turns a fault into an error. Where the file is damaged while it is open,
// the library panics, and the kernel faults where the file ends too early: the
// daemon has more to do than to remember.
func (h *History) guard(do func() error) (err error) {
	if h.damaged.Load() {
		return ErrDamaged
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			h.damaged.Store(true)
			err = fmt.Errorf("%w: %v; start plasmd anew for another one", ErrDamaged, p)
		}
	}()
	return do()
}
