// Package history keeps the runs of a node and their receipts, so that they
// survive a restart, a crash and kill -9. A run that has ended is on disk before
// its receipt is handed out, and a nonce is remembered together with its run, so
// no offer gets two receipts. What is kept is bounded: the oldest runs give way.
package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/compute/job"
	"phase/appliance/compute/sandbox"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// File is the name of the history in a daemon's folder.
const File = "history.db"

// State is where a run stands.
type State string

// All states. Done has a receipt. Refused was admitted and did not run. Lost
// was waiting or running when the daemon died.
const (
	Queued  State = "queued"
	Running State = "running"
	Done    State = "done"
	Refused State = "refused"
	Lost    State = "lost"
)

// Over says whether a run has ended.
func (s State) Over() bool { return s != Queued && s != Running }

// Run is one run. Started, Finished, ExitCode and Outcome are nil until they
// are known.
type Run struct {
	RunID      string       `json:"run_id"`
	JobID      string       `json:"job_id"`
	ModuleHash string       `json:"module_hash"`
	Requester  string       `json:"requester"`
	State      State        `json:"state"`
	Queued     time.Time    `json:"queued"`
	Started    *time.Time   `json:"started"`
	Finished   *time.Time   `json:"finished"`
	ExitCode   *uint32      `json:"exit_code"`
	Outcome    *job.Outcome `json:"outcome"`
	Detail     string       `json:"detail"` // why it ended so; may be empty
}

// Entry is a run with its job file and its receipt, which is an envelope, or
// nil unless the run is Done.
type Entry struct {
	Run
	Job     []byte `json:"job"`
	Receipt []byte `json:"receipt"`
}

// Limits bound what is kept: runs, bytes of runs, and nonces.
type Limits struct {
	Runs   int
	Bytes  int64
	Nonces int
}

// Errors that callers branch on.
var (
	ErrSeen    = errors.New("this offer has been run already")
	ErrUnknown = errors.New("there is no such run")
	ErrInUse   = errors.New("another plasmd uses it")
	ErrDamaged = errors.New("the history is damaged")
)

// The buckets: runs by number, numbers by run id, numbers of runs that are not
// over, and nonces by themselves and by number.
var (
	bucketRuns   = []byte("runs")
	bucketIDs    = []byte("ids")
	bucketOpen   = []byte("open")
	bucketNonces = []byte("nonces")
	bucketOrder  = []byte("nonce_order")
	buckets      = [][]byte{bucketRuns, bucketIDs, bucketOpen, bucketNonces, bucketOrder}
)

// lockTime is how long Open waits for another process to let go.
const lockTime = time.Second

// History is safe for use by many at once.
type History struct {
	db      *bbolt.DB
	limits  Limits
	writer  *writer
	damaged atomic.Bool // the file was, while it was open

	mu     sync.Mutex
	next   uint64            // number of the next run
	live   map[string]*live  // runs that are not over, by id
	nonces map[string]uint64 // of runs not yet on disk
}

// live is a run that is not over, or not yet on disk as such.
type live struct {
	Entry
	number uint64
}

// Open opens the history in a file and makes it first where there is none. An
// empty path keeps it in memory, for machines that keep nothing. Runs that were
// not over when the last daemon ended are Lost. Errors wrap ErrInUse or
// ErrDamaged where it is that.
func Open(path string, limits Limits) (*History, error) {
	h := &History{limits: limits, live: map[string]*live{}, nonces: map[string]uint64{}}
	h.writer = newWriter(h)
	options := &bbolt.Options{Timeout: lockTime, FreelistType: bbolt.FreelistMapType}
	var err error
	if path == "" {
		options.OpenFile = func(string, int, fs.FileMode) (*os.File, error) { return sandbox.MemoryFile("history") }
		path = "history (in memory)"
	} else {
		err = check(path)
	}
	if err == nil {
		err = h.guard(func() error { return h.open(path, options) })
	}
	if err == nil && options.OpenFile == nil {
		// The library syncs the file it makes, not its name.
		if err = statefile.SyncFolder(filepath.Dir(path)); err != nil {
			err = errors.Join(err, h.db.Close())
		}
	}
	var noAccess *fs.PathError
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		err = ErrInUse
	case !errors.As(err, &noAccess) && !errors.Is(err, ErrInUse) && !errors.Is(err, ErrDamaged):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil, fmt.Errorf("opening the history %s: %w", path, err)
}

// open opens the database and reads all of it once.
func (h *History) open(path string, options *bbolt.Options) (err error) {
	if h.db, err = bbolt.Open(path, 0o600, options); err != nil {
		return err
	}
	err = h.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if err := h.writer.count(tx); err != nil {
			return err
		}
		return h.takeUp(tx)
	})
	if err != nil {
		err = errors.Join(err, h.db.Close())
	}
	return err
}

// takeUp numbers the next run and marks as Lost what was not over.
func (h *History) takeUp(tx *bbolt.Tx) error {
	runs, open := tx.Bucket(bucketRuns), tx.Bucket(bucketOpen)
	for _, bucket := range []*bbolt.Bucket{runs, tx.Bucket(bucketOrder)} {
		if last, _ := bucket.Cursor().Last(); last != nil {
			h.next = max(h.next, number(last)+1)
		}
	}
	for key, _ := open.Cursor().First(); key != nil; key, _ = open.Cursor().First() {
		var e Entry
		if err := json.Unmarshal(runs.Get(key), &e); err != nil {
			return err
		}
		e.State, e.Detail = Lost, "the daemon ended before the job did"
		if err := errors.Join(put(runs, key, e), open.Delete(key)); err != nil {
			return err
		}
	}
	return nil
}

// Close writes what is left to write. A second one does nothing.
func (h *History) Close() error {
	h.writer.commit.Lock()
	defer h.writer.commit.Unlock()
	h.writer.flush()
	if h.damaged.Load() {
		return nil // closing it, the library may wait for itself
	}
	if err := h.db.Close(); err != nil {
		return fmt.Errorf("closing the history: %w", err)
	}
	return nil
}

// Begin records a run that was admitted, and its nonce (16 bytes). The error is
// ErrSeen when the nonce is known. The run is on disk no later than its end.
func (h *History) Begin(e Entry, nonce []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seen, err := h.seen(nonce); err != nil {
		return err
	} else if seen {
		return ErrSeen
	}
	l := &live{Entry: e, number: h.next}
	h.next++
	h.live[e.RunID], h.nonces[string(nonce)] = l, l.number
	h.writer.later(write{number: l.number, entry: e, nonce: slices.Clone(nonce)})
	return nil
}

// Running records that a run has begun.
func (h *History) Running(runID string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.live[runID]; ok {
		l.State, l.Started = Running, &at
		h.writer.later(write{number: l.number, entry: l.Entry})
	}
}

// End records how a run ended. When it returns nil, that is on disk. When it
// does not, the run counts as Refused: a receipt that is not kept may not be
// handed out.
func (h *History) End(e Entry) error {
	h.mu.Lock()
	l, ok := h.live[e.RunID]
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("recording the end of the run %s: %w", e.RunID, ErrUnknown)
	}
	if err := h.writer.now(write{number: l.number, entry: e}); err != nil {
		e.State, e.Receipt, e.ExitCode, e.Outcome, e.Detail = Refused, nil, nil, nil, "its end could not be recorded: "+err.Error()
		h.mu.Lock()
		l.Entry = e
		h.writer.later(write{number: l.number, entry: e})
		h.mu.Unlock()
		return fmt.Errorf("recording the end of the run %s: %w", e.RunID, err)
	}
	return nil
}

// Get returns one run. The error wraps ErrUnknown when there is none.
func (h *History) Get(runID string) (Entry, error) {
	h.mu.Lock()
	if l, ok := h.live[runID]; ok {
		defer h.mu.Unlock()
		return l.Entry, nil
	}
	h.mu.Unlock()
	var e Entry
	err := h.view(func(tx *bbolt.Tx) error {
		key := tx.Bucket(bucketIDs).Get([]byte(runID))
		if key == nil {
			return ErrUnknown
		}
		return json.Unmarshal(tx.Bucket(bucketRuns).Get(key), &e)
	})
	if err != nil {
		return Entry{}, fmt.Errorf("reading the history: run %.40q: %w", runID, err)
	}
	return e, nil
}
