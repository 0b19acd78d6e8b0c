//go:build !amd64

package wallclock

import (
	"errors"
	"time"
)

var errArch = errors.New("another date can be given to programs on x86_64 alone")

func filterThread() error         { return errArch }
func hideVDSO(int) error          { return errArch }
func answer(int, time.Time) error { return errArch }
