package supervise

import (
	"errors"
	"io"
	"os"
	"testing"
)

// A service reads what it is handed on; what cannot be opened is empty.
func TestHandsOn(t *testing.T) {
	set, h := newSet(t)
	read := func() (*os.File, error) {
		r, w, err := os.Pipe()
		if err == nil {
			_, err = io.WriteString(w, "a line")
			w.Close()
		}
		return r, err
	}
	for name, c := range map[string]struct {
		open func() (*os.File, error)
		says string
	}{
		"opened": {read, `read "a line", <nil>`},
		"closed": {func() (*os.File, error) { return nil, errors.New("not for you") }, `read "", <nil>`},
	} {
		s := service(name, "reads")
		s.Files = []func() (*os.File, error){c.open}
		if err := set.Start(s); err != nil {
			t.Fatal(err)
		}
		h.wait(t, name+": "+c.says)
	}
	set.Stop()
}
