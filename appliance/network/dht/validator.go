package dht

import (
	"crypto/sha256"
	"sync"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/release/record"
)

// maxVerdicts is how many values are remembered, so that one that comes from
// twenty peers is verified once.
const maxVerdicts = 128

// validator judges records for the library: a value that package record refuses
// is never stored, served or handed on, of whatever fleet it says it is.
type validator struct {
	now  func() time.Time
	good func(record.Record) // is told of each that is valid, first time
	slot chan struct{}       // one value is verified at a time: that is all a crowd can take

	mu       sync.Mutex
	verdicts map[[sha256.Size]byte]verdict
	refused  map[refusal.Code]uint64
}

type verdict struct {
	record record.Record
	err    error
}

func newValidator(now func() time.Time, good func(record.Record)) *validator {
	return &validator{now: now, good: good, slot: make(chan struct{}, 1), verdicts: map[[sha256.Size]byte]verdict{}, refused: map[refusal.Code]uint64{}}
}

// Validate refuses what is not a record of its key.
func (v *validator) Validate(key string, value []byte) error {
	_, err := v.parse(key, value)
	return err
}

// Select chooses the best of several values.
func (v *validator) Select(key string, values [][]byte) (int, error) {
	var best record.Record
	var first error
	at := -1
	for i, value := range values {
		r, err := v.parse(key, value)
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && (at < 0 || record.Compare(r, best) > 0):
			best, at = r, i
		}
	}
	if at < 0 {
		if first == nil {
			first = refusal.New(refusal.Format, "no value to choose from")
		}
		return 0, first
	}
	return at, nil
}

func (v *validator) parse(key string, value []byte) (record.Record, error) {
	parsed, err := record.ParseKey(key)
	if err == nil && len(value) > record.MaxBytes {
		err = refusal.New(refusal.Size, "a record of %d bytes, at most %d", len(value), record.MaxBytes)
	}
	if err != nil {
		v.count(err)
		return record.Record{}, err
	}
	h := sha256.New()
	h.Write([]byte(key))
	h.Write([]byte{0})
	h.Write(value)
	name := [sha256.Size]byte(h.Sum(nil))
	if known, ok := v.known(name); ok {
		return known.record, known.err
	}
	v.slot <- struct{}{}
	defer func() { <-v.slot }()
	if known, ok := v.known(name); ok { // another has waited for the same
		return known.record, known.err
	}
	r, err := record.Parse(parsed, value, v.now())
	v.mu.Lock()
	if len(v.verdicts) >= maxVerdicts {
		for old := range v.verdicts { // any: the order of a map is by chance
			delete(v.verdicts, old)
			break
		}
	}
	v.verdicts[name] = verdict{r, err}
	v.mu.Unlock()
	if err != nil {
		v.count(err)
	} else if v.good != nil {
		v.good(r)
	}
	return r, err
}

// known is what was found of a value before, unless time may have changed it.
func (v *validator) known(name [sha256.Size]byte) (verdict, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.verdicts[name]
	if ok && (known.err == nil && !v.now().Before(known.record.Expires()) || refusal.CodeOf(known.err) == refusal.Expired) {
		delete(v.verdicts, name)
		return verdict{}, false
	}
	return known, ok
}

func (v *validator) count(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refused[refusal.CodeOf(err)]++
}

// counts are the refusals by code.
func (v *validator) counts() map[refusal.Code]uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	counts := map[refusal.Code]uint64{}
	for code, n := range v.refused {
		counts[code] = n
	}
	return counts
}
