package history

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/bbolt"
)

// List returns at most limit runs, newest first, beginning behind the run
// before when it is not empty; more says whether there are older ones. The
// error wraps ErrUnknown when there is no run of that name.
func (h *History) List(before string, limit int) (list []Run, more bool, err error) {
	h.mu.Lock()
	below := h.next
	running := map[uint64]Run{}
	for _, l := range h.live {
		running[l.number] = l.Run
	}
	if l, ok := h.live[before]; ok {
		below, before = l.number, ""
	}
	h.mu.Unlock()
	found := map[uint64]Run{}
	err = h.view(func(tx *bbolt.Tx) error {
		if before != "" {
			at := tx.Bucket(bucketIDs).Get([]byte(before))
			if at == nil {
				return ErrUnknown
			}
			below = number(at)
		}
		cursor := tx.Bucket(bucketRuns).Cursor()
		for at, value := last(cursor, below); at != nil && len(found) <= limit; at, value = cursor.Prev() {
			var r Run
			if err := json.Unmarshal(value, &r); err != nil {
				return err
			}
			found[number(at)] = r
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("reading the history: %w", err)
	}
	maps.Copy(found, running) // of a run that is in both, this is the newer
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(found))) {
		if n < below && len(list) <= limit {
			list = append(list, found[n])
		}
	}
	more = len(list) > limit
	return list[:min(len(list), limit)], more, nil
}

// Seen reports whether the nonce (16 bytes) of an offer is known: the offer has
// been run already, or runs.
func (h *History) Seen(nonce []byte) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen(nonce)
}

// seen is Seen; the caller holds the lock.
func (h *History) seen(nonce []byte) (bool, error) {
	_, seen := h.nonces[string(nonce)]
	err := h.view(func(tx *bbolt.Tx) error {
		seen = seen || tx.Bucket(bucketNonces).Get(nonce) != nil
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("reading the history: %w", err)
	}
	return seen, nil
}

// Find returns the run of an offer by its nonce (16 bytes). The error wraps
// ErrUnknown when there is none, or it has given way to newer ones.
func (h *History) Find(nonce []byte) (Entry, error) {
	h.mu.Lock()
	if n, ok := h.nonces[string(nonce)]; ok {
		defer h.mu.Unlock()
		for _, l := range h.live {
			if l.number == n {
				return l.Entry, nil
			}
		}
		return Entry{}, fmt.Errorf("reading the history: %w", ErrUnknown)
	}
	h.mu.Unlock()
	var e Entry
	err := h.view(func(tx *bbolt.Tx) error {
		at := tx.Bucket(bucketNonces).Get(nonce)
		value := tx.Bucket(bucketRuns).Get(at)
		if at == nil || value == nil {
			return ErrUnknown
		}
		return json.Unmarshal(value, &e)
	})
	if err != nil {
		return Entry{}, fmt.Errorf("reading the history: %w", err)
	}
	return h.newest(e), nil
}

// newest is a run that was read from disk as it stands now.
func (h *History) newest(e Entry) Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l, ok := h.live[e.RunID]; ok {
		return l.Entry
	}
	return e
}

// last is the last run below a number, nil without one.
func last(cursor *bbolt.Cursor, below uint64) (at, value []byte) {
	if next, _ := cursor.Seek(key(below)); next == nil {
		return cursor.Last()
	}
	return cursor.Prev()
}
