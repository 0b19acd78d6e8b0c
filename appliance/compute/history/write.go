package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// flushTime is how long a change that is not waited for may stay in memory.
const flushTime = 200 * time.Millisecond

// write is one change: a run as it stands now.
type write struct {
	number uint64
	entry  Entry
	nonce  []byte     // nil but for a run's first
	done   chan error // gets its error or nil; a nil channel where it is not waited for
}

// writer puts changes on disk, as many at once as have gathered: a transaction
// costs two waits for the disk, however much is in it.
type writer struct {
	of *History

	commit sync.Mutex // one transaction at a time; it is taken before mu
	runs   int        // on disk
	bytes  int64      // … and their size
	nonces int        // on disk

	mu      sync.Mutex
	pending []write
	timer   *time.Timer // flushes what is not waited for
}

func newWriter(h *History) *writer {
	w := &writer{of: h}
	w.timer = time.AfterFunc(flushTime, func() {
		w.commit.Lock()
		defer w.commit.Unlock()
		w.flush()
	})
	return w
}

// count counts what is there.
func (w *writer) count(tx *bbolt.Tx) error {
	w.nonces = tx.Bucket(bucketNonces).Stats().KeyN
	return tx.Bucket(bucketRuns).ForEach(func(_, value []byte) error {
		w.runs++
		w.bytes += int64(len(value))
		return nil
	})
}

// later takes a change that need not be on disk yet.
func (w *writer) later(c write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		w.timer.Reset(flushTime)
	}
	w.pending = append(w.pending, c)
}

// now takes a change and returns when it is on disk.
func (w *writer) now(c write) error {
	c.done = make(chan error, 1)
	w.later(c)
	w.commit.Lock()
	defer w.commit.Unlock()
	w.flush() // unless another has committed this one, too
	return <-c.done
}

// flush commits what is pending. A change that could not be committed and is not
// waited for is tried again with the next, unless the history is closed. The
// caller holds commit.
func (w *writer) flush() {
	w.mu.Lock()
	batch := w.pending
	w.pending = nil
	w.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	count, size, seen := w.runs, w.bytes, w.nonces
	err := w.of.update(func(tx *bbolt.Tx) error {
		for _, c := range batch {
			if err := w.store(tx, c); err != nil {
				return err
			}
		}
		return w.prune(tx)
	})
	if err == nil {
		w.of.committed(batch)
	} else {
		w.runs, w.bytes, w.nonces = count, size, seen
		again := slices.DeleteFunc(slices.Clone(batch), func(c write) bool { return c.done != nil })
		if len(again) > 0 && !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			w.before(again)
		}
	}
	for _, c := range batch {
		if c.done != nil {
			c.done <- err
		}
	}
}

// before takes changes again that are older than what is pending.
func (w *writer) before(changes []write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(changes, w.pending...)
	w.timer.Reset(flushTime)
}

// committed forgets in memory what is on disk.
func (h *History) committed(batch []write) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range batch {
		if c.nonce != nil {
			delete(h.nonces, string(c.nonce))
		}
		if c.entry.State.Over() {
			delete(h.live, c.entry.RunID)
		}
	}
}

func (w *writer) store(tx *bbolt.Tx, c write) error {
	at, runs, open := key(c.number), tx.Bucket(bucketRuns), tx.Bucket(bucketOpen)
	old := runs.Get(at)
	if old == nil {
		w.runs++
	}
	w.bytes -= int64(len(old))
	if err := put(runs, at, c.entry); err != nil {
		return err
	}
	w.bytes += int64(len(runs.Get(at)))
	if err := tx.Bucket(bucketIDs).Put([]byte(c.entry.RunID), at); err != nil {
		return err
	}
	if c.nonce != nil {
		w.nonces++
		if err := errors.Join(tx.Bucket(bucketNonces).Put(c.nonce, at), tx.Bucket(bucketOrder).Put(at, c.nonce)); err != nil {
			return err
		}
	}
	if c.entry.State.Over() {
		return open.Delete(at)
	}
	return open.Put(at, []byte{}) // not nil, which Get returns for what is not there
}

// prune removes the oldest until what is left is within the limits: never a run
// that is not over, and never the newest, however large it is.
func (w *writer) prune(tx *bbolt.Tx) error {
	runs, ids, open := tx.Bucket(bucketRuns), tx.Bucket(bucketIDs), tx.Bucket(bucketOpen)
	var gone [][]byte
	cursor := runs.Cursor()
	newest, _ := cursor.Last()
	newest = bytes.Clone(newest)
	for at, value := cursor.First(); !bytes.Equal(at, newest) && (w.runs > w.of.limits.Runs || w.bytes > w.of.limits.Bytes); at, value = cursor.Next() {
		if open.Get(at) != nil {
			continue
		}
		var r Run
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		if err := ids.Delete([]byte(r.RunID)); err != nil {
			return err
		}
		gone = append(gone, bytes.Clone(at))
		w.runs--
		w.bytes -= int64(len(value))
	}
	for _, at := range gone {
		if err := runs.Delete(at); err != nil {
			return err
		}
	}
	nonces, order := tx.Bucket(bucketNonces), tx.Bucket(bucketOrder)
	for ; w.nonces > w.of.limits.Nonces; w.nonces-- {
		at, nonce := order.Cursor().First()
		if err := errors.Join(nonces.Delete(nonce), order.Delete(at)); err != nil {
			return err
		}
	}
	return nil
}

func put(runs *bbolt.Bucket, at []byte, e Entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return runs.Put(at, text)
}

// How long keys are, in bytes.
const (
	numberBytes = 8
	nonceBytes  = 16
)

// key is a number as a key, of numberBytes: in the order of the numbers.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func number(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
