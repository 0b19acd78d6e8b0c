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

// last is the last run below a number, nil without one.
func last(cursor *bbolt.Cursor, below uint64) (at, value []byte) {
	if next, _ := cursor.Seek(key(below)); next == nil {
		return cursor.Last()
	}
	return cursor.Prev()
}
