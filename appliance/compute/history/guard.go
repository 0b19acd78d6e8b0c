package history

import (
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// view reads, and update changes, what is kept. Where the file was damaged since
// it was opened, the library panics, and the kernel where the file ends too
// early: that is an error, as the daemon has more to do than to remember.
func (h *History) view(do func(*bbolt.Tx) error) error {
	return h.safely(func() error { return h.db.View(do) })
}

func (h *History) update(do func(*bbolt.Tx) error) error {
	return h.safely(func() error { return h.db.Update(do) })
}

func (h *History) safely(do func() error) (err error) {
	if h.broken.Load() {
		return ErrDamaged
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			h.broken.Store(true)
			err = fmt.Errorf("%w: %v; start plasmd anew for another one", ErrDamaged, p)
		}
	}()
	return do()
}
