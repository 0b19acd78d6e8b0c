package job

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A witness is a process that does nothing but look at the clock. What keeps it
// from doing so for long is the machine, which is busy with something else, and
// keeps a node from being on time as well: a run is late only by more than that.
type witness struct {
	mu   sync.Mutex
	gaps []gap
}

type gap struct{ from, to time.Time }

// How often the witness looks, and the gap it speaks of.
const (
	glance = 5 * time.Millisecond
	absent = 4 * glance
)

const witnessArg = "witness"

// testify is the life of the witness. It ends when nobody listens any more.
func testify() {
	for last := time.Now(); ; {
		time.Sleep(glance)
		now := time.Now()
		if now.Sub(last) > absent {
			if _, err := fmt.Println(last.UnixNano(), now.UnixNano()); err != nil {
				return
			}
		}
		last = now
	}
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", witnessArg)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var from, to int64
			if _, err := fmt.Sscan(lines.Text(), &from, &to); err == nil {
				w.mu.Lock()
				w.gaps = append(w.gaps, gap{time.Unix(0, from), time.Unix(0, to)})
				w.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-read
		_ = cmd.Wait() // it was killed
	})
	return w
}

// kept is how long between two times the machine kept the witness waiting.
func (w *witness) kept(from, to time.Time) (total time.Duration) {
	time.Sleep(2 * absent) // what it has to say of the last moments
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.gaps {
		if g.from.Before(from) {
			g.from = from
		}
		if g.to.After(to) {
			g.to = to
		}
		total += max(0, g.to.Sub(g.from))
	}
	return total
}

// onTime holds a run to its end, at most a tenth of a second after its limit.
func (w *witness) onTime(t *testing.T, name string, limit, dead time.Time) {
	t.Helper()
	late := dead.Sub(limit)
	if late <= patience(100*time.Millisecond) {
		return
	}
	if kept := w.kept(limit, dead); late-kept > patience(100*time.Millisecond) {
		t.Errorf("%s: dead %v after its limit, of which the machine was busy for %v", name, late, kept)
	} else {
		t.Logf("%s: dead %v after its limit; the machine was busy for %v", name, late, kept)
	}
}

// TestWitness: who is late on a machine that is not busy is found late.
func TestWitness(t *testing.T) {
	if os.Getenv("PHASE_ALONE") == "" {
		t.Skip("it needs a machine that does nothing else: make test-hostile")
	}
	w := newWitness(t)
	begin := time.Now()
	time.Sleep(200 * time.Millisecond)
	if kept := w.kept(begin, begin.Add(200*time.Millisecond)); kept > 100*time.Millisecond {
		t.Errorf("the witness was kept for %v of 200ms by nobody", kept)
	}
}
