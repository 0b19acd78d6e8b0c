// Package trial counts how often a release was jumped into and whether it came
// up, so that one which dies is not tried for ever. A try is written down before
// the jump, and crossed out by the release itself once it is healthy and has
// lasted a while, or is ended by its owner. A try that stands open after a
// restart did not come up, though the reason is not known: a power cut looks the
// same, so the later tries wait until the machine has been up for a while, and
// then there are no more (Wait). The journal is a file on disk, or where there
// is no disk an EFI variable, or else the memory of this boot alone; a machine
// without either asks the providers of a release, which count for it (package
// remotetrials).
package trial

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/strictjson"
)

// waits is how long a machine must have been up before it jumps into a release,
// by how often it did so before without the release coming up. The second try is
// there because the first may have met a power cut. Cuts come in rows, so two
// prove little; a machine that has then been up for an hour has steady power,
// and what dies under it once more does so by itself. A try of a kernel that hangs may
// cost its owner a walk to the machine, so they are few.
var waits = [...]time.Duration{0, 0, time.Hour, 24 * time.Hour}

// goodTries are tries without a wait for a release that is good: it is jumped
// into at every power-on, and cuts come in rows.
const goodTries = 4

// Wait says how long a machine must have been up to jump into a release that was
// tried so often and did not come up since; good says that it is a good one. Such
// a release is never given up, since it has shown that it works here; one that
// dies nevertheless is tried again only after an hour, and then once a day.
// Without again there are no more tries.
func Wait(tries int, good bool) (up time.Duration, again bool) {
	if good {
		tries = min(max(0, tries-goodTries+2), len(waits)-1)
	}
	if tries >= len(waits) {
		return 0, false
	}
	return waits[tries], true
}

const (
	// maxTries is what a journal may say; a later release may count further.
	maxTries = 1000
	// maxRecords bounds the journal; an EFI variable has little room. The
	// oldest record goes first.
	maxRecords = 8
	maxBytes   = 4096
	maxBoot    = 64
	maxReason  = 200
)

// Record is what is known of one release.
type Record struct {
	Digest names.Digest `json:"digest"` // of its manifest
	// Version is for people; 0 when it is not known.
	Version uint64 `json:"version,omitzero"`
	Tries   int    `json:"tries"`  // jumps since it last lasted
	Good    bool   `json:"good"`   // it was healthy for long enough once, and stays
	Lasted  bool   `json:"lasted"` // it was up for a while once, or was ended on purpose
	Up      bool   `json:"up"`     // it came up after the last jump
	Boot    string `json:"boot"`   // the boot that jumped last
	// Expect is what the machine had before the jump, and must have again for
	// the release to be good.
	Expect Expect `json:"expect,omitzero"`
	// Reason is why the last try ended, in words; empty while that is not known.
	Reason string `json:"reason,omitempty"`
}

// Expect is what a machine has that a release on trial must not take from it.
type Expect struct {
	Network bool `json:"network,omitempty"` // an address, by DHCP or fixed
	Peers   bool `json:"peers,omitempty"`   // a peer that is connected
}

// State is how a release stands on a machine.
type State string

// The states of a release.
const (
	Held  State = "held"  // it was never jumped into
	OnTry State = "trial" // it was jumped into, and has not shown yet that it works
	Good  State = "good"
	Bad   State = "failed" // it was tried as often as it may be at once
)

// State says how the release stands.
func (r Record) State() State {
	switch up, again := Wait(r.Tries, r.Good); {
	case r.Good:
		return Good
	case r.Tries == 0:
		return Held
	case !again || up > 0 && !r.Up:
		return Bad
	}
	return OnTry
}

// Next says in words when the release may be tried again.
func (r Record) Next() string {
	switch up, again := Wait(r.Tries, r.Good); {
	case !again:
		return "it is not tried again"
	case up > 0:
		return fmt.Sprintf("it is tried again only once this machine has been up for %d h", up/time.Hour)
	}
	return "it may be tried once more"
}

// Fate says in words what became of the release.
func (r Record) Fate() string {
	switch {
	case r.Reason != "":
		return "was started and did not come up: " + r.Reason
	case r.Up:
		return fmt.Sprintf("was started %d times, came up, and did not last", r.Tries)
	}
	return "was started and did not come up"
}

// Boot is the running boot.
type Boot struct {
	ID string               // apart from every other
	Up func() time.Duration // since it began
}

// place is where the bytes of a journal are kept.
type place interface {
	read() ([]byte, error) // nil without an error when nothing was written yet
	write(data []byte) error
	name() string
}

// Journal holds the records of a machine. It is used by one process at a time:
// init writes it, update reads it.
type Journal struct {
	place place
	boot  Boot
}

// Up is how long the machine has been up in the boot that the journal is used in.
func (j Journal) Up() time.Duration { return j.boot.Up() }

// Where says where the journal is: "disk", "efi", or "memory" when a restart
// forgets it.
func (j Journal) Where() string { return j.place.name() }

// Begin counts a try of the release before the jump, and notes what it must
// bring back. When it has been tried
// too often, or the try cannot be written down, the error says so and there
// must be no jump. One boot jumps once, so it counts once however often a jump
// is attempted.
func (j Journal) Begin(d names.Digest, version uint64, expect Expect) error {
	r, others, err := j.find(d)
	if err != nil {
		return err
	}
	if j.counted(r) {
		return nil
	}
	if !j.may(r) {
		return fmt.Errorf("release %s %s (%d tries); %s", d, r.Fate(), r.Tries, r.Next())
	}
	r.Tries = min(r.Tries+1, maxTries)
	r.Version, r.Boot, r.Up, r.Expect, r.Reason = version, j.boot.ID, false, expect, ""
	return j.save(append(others, r))
}

// Ended notes why the running try of a release ends: it did not become healthy.
func (j Journal) Ended(d names.Digest, reason string) error {
	return j.change(d, func(r *Record) {
		if !r.Good {
			r.Reason = plain(reason)
		}
	})
}

// plain cuts a reason to what has a place in a journal: printable ASCII, so that
// its JSON is not longer than it is.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\\<>&`, r) {
			return ' '
		}
		return r
	}, text)
	return text[:min(len(text), maxReason)]
}

// Came notes that a release came up, before it is known whether it stays up.
func (j Journal) Came(d names.Digest) error {
	return j.change(d, func(r *Record) { r.Up = true })
}

// Find returns what is known of a release; its Tries are 0 when that is nothing.
func (j Journal) Find(d names.Digest) (Record, error) {
	r, _, err := j.find(d)
	return r, err
}

// Good notes that a release was healthy for long enough. Its tries are crossed
// out once it has lasted: one that dies soon after, again and again, would
// otherwise be jumped into for ever.
func (j Journal) Good(d names.Digest) error {
	return j.change(d, func(r *Record) {
		r.Good, r.Up, r.Reason = true, true, ""
		if r.Lasted {
			r.Tries, r.Boot = 0, ""
		}
	})
}

// Lasted crosses out the tries of a release that is good, and has run for a
// while or is ended on purpose.
func (j Journal) Lasted(d names.Digest) error {
	return j.change(d, func(r *Record) { r.Good, r.Up, r.Lasted, r.Tries, r.Boot, r.Reason = true, true, true, 0, "", "" })
}

// change changes the record of a release, and writes only what is new.
func (j Journal) change(d names.Digest, f func(*Record)) error {
	r, others, err := j.find(d)
	if err != nil {
		return err
	}
	before := r
	if f(&r); r == before {
		return nil
	}
	return j.save(append(others, r))
}

// counted says whether this boot has counted its try of a release already.
func (j Journal) counted(r Record) bool {
	return r.Tries > 0 && j.boot.ID != "" && r.Boot == j.boot.ID
}

// may says whether this boot may try a release now.
func (j Journal) may(r Record) bool {
	up, again := Wait(r.Tries, r.Good)
	return again && (up == 0 || j.boot.Up() >= up)
}

// Failed says whether the release was tried as often as it may be by now. A
// journal that cannot be read has seen nothing: Begin will refuse by itself.
func (j Journal) Failed(d names.Digest) bool {
	r, _, err := j.find(d)
	return err == nil && !j.counted(r) && !j.may(r)
}

// Open returns the releases that were jumped into and did not come up since, or
// came up so often without lasting that they are held back now; the latest first.
func (j Journal) Open() ([]Record, error) {
	records, err := j.Records()
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r Record) bool {
		up, again := Wait(r.Tries, r.Good)
		return r.Tries == 0 || r.Up && again && up == 0
	})
	slices.Reverse(records)
	return records, nil
}

// Records returns all there are, oldest first.
func (j Journal) Records() ([]Record, error) {
	data, err := j.place.read()
	if err != nil {
		return nil, fmt.Errorf("reading the journal of trials: %w", err)
	}
	if len(data) == 0 {
		return nil, nil
	}
	records, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading the journal of trials: %w", err)
	}
	return records, nil
}

func (j Journal) save(records []Record) error {
	data, err := format(records)
	if err != nil {
		return err
	}
	if err := j.place.write(data); err != nil {
		return fmt.Errorf("writing the journal of trials: %w", err)
	}
	return nil
}

// Reset begins the journal anew. A torn or foreign journal would otherwise
// stop every update; what it forgets costs one more try of a bad release.
func (j Journal) Reset() error { return j.save(nil) }

// find returns the record of a release, empty if there is none, and the others.
func (j Journal) find(d names.Digest) (r Record, others []Record, err error) {
	records, err := j.Records()
	r = Record{Digest: d}
	for _, other := range records {
		if other.Digest == d {
			r = other
		} else {
			others = append(others, other)
		}
	}
	return r, others, err
}

type document struct {
	Trials []Record `json:"trials"`
}

func format(records []Record) ([]byte, error) {
	if extra := len(records) - maxRecords; extra > 0 {
		records = records[extra:]
	}
	return strictjson.Marshal(document{Trials: records})
}

// parse reads what format wrote: at most 4 KiB and 8 records, no release twice.
func parse(data []byte) ([]Record, error) {
	var d document
	if err := strictjson.Unmarshal(bytes.TrimRight(data, " \x00"), &d, strictjson.Limit(maxBytes)); err != nil {
		return nil, err
	}
	if len(d.Trials) > maxRecords {
		return nil, fmt.Errorf("%d records, at most %d", len(d.Trials), maxRecords)
	}
	for i, r := range d.Trials {
		if r.Tries < 0 || r.Tries > maxTries || len(r.Boot) > maxBoot || len(r.Reason) > maxReason {
			return nil, fmt.Errorf("release %s: %d tries, boot %.40q", r.Digest, r.Tries, r.Boot)
		}
		if slices.ContainsFunc(d.Trials[:i], func(before Record) bool { return before.Digest == r.Digest }) {
			return nil, fmt.Errorf("release %s is there twice", r.Digest)
		}
	}
	return d.Trials, nil
}
