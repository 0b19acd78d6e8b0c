package history

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// List returns at most limit runs, newest first, beginning behind the run
// before when it is not empty; more says whether there are older ones. The
// error wraps ErrUnknown when there is no run of that name.
func (h *History) List(before string, limit int) (list []Run, more bool, err error) {
	h.mu.Lock()
	below := h.next
	running := make([]live, 0, len(h.live))
	for _, l := range h.live {
		running = append(running, *l)
	}
	if l, ok := h.live[before]; ok {
		below, before = l.number, ""
	}
	h.mu.Unlock()
	slices.SortFunc(running, func(a, b live) int { return int(int64(b.number - a.number)) })
	err = h.view(func(tx *bbolt.Tx) error {
		if before != "" {
			key := tx.Bucket(bucketIDs).Get([]byte(before))
			if key == nil {
				return ErrUnknown
			}
			below = number(key)
		}
		list, more, err = merge(running, tx.Bucket(bucketRuns).Cursor(), below, limit)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("reading the history: %w", err)
	}
	return list, more, nil
}

// before is the entry in front of a key, nil without one.
func before(cursor *bbolt.Cursor, at []byte) (key, value []byte) {
	if next, _ := cursor.Seek(at); next == nil {
		return cursor.Last()
	}
	return cursor.Prev()
}

// merge takes runs of both kinds in falling order of their numbers, all below
// one. Of a run that is in both, the live one is the newer.
func merge(running []live, cursor *bbolt.Cursor, below uint64, limit int) (list []Run, more bool, err error) {
	key, value := before(cursor, key(below))
	for key != nil || len(running) > 0 {
		if len(running) > 0 && running[0].number >= below {
			running = running[1:]
			continue
		}
		if len(list) == limit {
			return list, true, nil
		}
		if len(running) > 0 && (key == nil || running[0].number >= number(key)) {
			if key != nil && running[0].number == number(key) {
				key, value = cursor.Prev()
			}
			list = append(list, running[0].Run)
			running = running[1:]
			continue
		}
		var r Run
		if err := json.Unmarshal(value, &r); err != nil {
			return nil, false, err
		}
		list = append(list, r)
		key, value = cursor.Prev()
	}
	return list, false, nil
}
