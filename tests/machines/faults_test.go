package machines

import (
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"phase/qemu"
	"phase/tests/lab"
)

// stick is the stub on a disk of its own, with settings in its phase.conf.
func (w *world) stick(t *testing.T, settings ...string) lab.Release {
	t.Helper()
	r, err := w.Release(patient(t), stubVersion, lab.Conf(settings...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// flashed is a release on a disk of its own, with settings in its phase.conf.
func (w *world) flashed(t *testing.T, r lab.Release, settings ...string) lab.Release {
	t.Helper()
	again, err := w.Flashed(patient(t), r, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// laptop serves releases beside the machines. toll, which may be nil, sees all
// that is asked of it.
func laptop(t *testing.T, s *qemu.Segment, toll *toll, releases ...lab.Release) *lab.Provider {
	t.Helper()
	between := func(h http.Handler) http.Handler { return h }
	if toll != nil {
		between = toll.between
	}
	p, err := lab.ProvideThrough(t.Context(), s, between, releases...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// toll counts what a provider sends of artifacts, and holds it up once after a
// number of bytes.
type toll struct {
	limit   int64         // bytes until the hold-up; 0: none, or none any more
	reached chan struct{} // closed when it begins

	mu    sync.Mutex
	sent  int64
	asked []request
}

// request is one for an artifact.
type request struct {
	path, span string
	sent       int64
}

func newToll(limit int64) *toll { return &toll{limit: limit, reached: make(chan struct{})} }

func (c *toll) between(next http.Handler) http.Handler {
	blob := regexp.MustCompile(`^/blobs/`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !blob.MatchString(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		c.mu.Lock()
		i := len(c.asked)
		c.asked = append(c.asked, request{path: r.URL.Path, span: r.Header.Get("Range")})
		c.mu.Unlock()
		next.ServeHTTP(tolled{w, c, i, r}, r)
	})
}

// requests is what was asked so far.
func (c *toll) requests() []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]request(nil), c.asked...)
}

type tolled struct {
	http.ResponseWriter
	toll    *toll
	index   int
	request *http.Request
}

// Unwrap lets deadlines through (http.ResponseController).
func (w tolled) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w tolled) Write(p []byte) (int, error) {
	c := w.toll
	c.mu.Lock()
	hold := c.limit > 0 && c.sent+int64(len(p)) > c.limit
	if hold {
		c.limit = 0 // once
		close(c.reached)
	}
	c.mu.Unlock()
	if hold {
		<-w.request.Context().Done() // the client has given up
		return 0, http.ErrAbortHandler
	}
	n, err := w.ResponseWriter.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += int64(n)
	c.asked[w.index].sent += int64(n)
	return n, err
}

// wait waits until the provider is held up.
func (c *toll) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.reached:
	case <-patient(t).Done():
		t.Fatalf("less was fetched than is needed for the hold-up: %v", c.requests())
	}
}

// problem waits until a node says on its console that something is wrong, and
// expects the same in its /status.
func problem(t *testing.T, n *lab.Node, after qemu.Event, pattern string) {
	t.Helper()
	_, _, err := n.Line(patient(t), after, `problem: .*`+pattern)
	if err != nil {
		t.Error(err)
		return
	}
	inStatus(t, n, pattern)
}

// inStatus expects a problem in a node's /status.
func inStatus(t *testing.T, n *lab.Node, pattern string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	st := status(t, n)
	for _, p := range st.Problems {
		if re.MatchString(p) {
			return
		}
	}
	t.Errorf("%s: /status has no problem with %q: %q", n.Name(), pattern, st.Problems)
}

// healthy expects a node to answer and to call itself healthy.
func healthy(t *testing.T, n *lab.Node) {
	t.Helper()
	if st := status(t, n); st.Health.Status != "healthy" {
		t.Errorf("%s: %s is %q", n.Name(), "/health", st.Health.Status)
	}
}

// untroubled expects a node to have no problem, or none any more: that its
// network is not up yet, it says itself of the moment before it is.
func untroubled(t *testing.T, n *lab.Node) {
	t.Helper()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for ctx := patient(t); ; {
		st := status(t, n)
		if len(st.Problems) == 0 {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Errorf("%s goes on to have problems: %q", n.Name(), st.Problems)
			return
		}
	}
}

// lines counts the console lines so far that match.
func lines(n *lab.Node, pattern string) (count int) {
	re := regexp.MustCompile(pattern)
	for _, e := range n.Console.Events() {
		if e.Kind == qemu.Line && re.MatchString(e.Text) {
			count++
		}
	}
	return count
}

// altered is a release signed by the lab like any other, with another artifact.
func (w *world) altered(t *testing.T, version uint64, artifact string, content []byte) lab.Release {
	t.Helper()
	r, err := w.Altered(w.next, version, artifact, content)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
