package main

import (
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/trial"
)

// journal counts the tries of releases, and outlasts a restart where it can.
type journal interface {
	Where() string                                                   // "disk", "efi" or "memory"
	Begin(d names.Digest, version uint64, expect trial.Expect) error // counts a try, before the jump
	Failed(names.Digest) bool                                        // it may not be tried now
	Find(names.Digest) (trial.Record, error)                         // what is known of it
	Came(names.Digest) error                                         // it came up
	Good(names.Digest) error                                         // it was healthy for long enough
	Ended(d names.Digest, reason string) error                       // it did not become healthy
	Lasted(names.Digest) error                                       // it is good and its tries no longer count
	Open() ([]trial.Record, error)                                   // those that did not come up, or not for long
	Reset() error                                                    // forgets all of them
}

// trials is what init does for a release that is tried: it counts the try
// before the jump, and the release's own init says how it went.
type trials struct {
	report   *report
	running  names.Digest         // the release on trial that runs now; zero when none is
	endGuard func() (bool, error) // see linux.EndGuard

	// Only what runs in work touches the fields below it.
	work    queue
	open    func() journal // called once, by the first that needs the journal
	journal journal
	record  *trial.Record // of the running release, as it was when it came up
	good    bool          // the running release is good
}

func newTrials(r *report, endGuard func() (bool, error), open func() journal) *trials {
	return &trials{report: r, endGuard: endGuard, work: newQueue(), open: open}
}

// do calls f with the journal, which nothing else uses meanwhile.
func (t *trials) do(f func(journal) error) error {
	return t.work.do(func() error {
		if t.journal == nil {
			t.journal = t.open()
		}
		return f(t.journal)
	})
}

// begin counts a try of a release. There may be no jump when it returns an
// error: the release was tried too often, or the try could not be written down.
func (t *trials) begin(d names.Digest, version uint64, expect trial.Expect) error {
	return t.do(func(j journal) error {
		if j.Failed(d) {
			return refusal.New(refusal.FailedBefore, "release %s was tried and did not come up", d)
		}
		if err := j.Begin(d, version, expect); err != nil {
			return err
		}
		t.report.say("jumping to release %s is counted (%s)", d, j.Where())
		return nil
	})
}

// unfinished reports the releases that did not come up.
func (t *trials) unfinished() error {
	var records []trial.Record
	err := t.do(func(j journal) (err error) {
		records, err = j.Open()
		return err
	})
	if err != nil {
		t.report.problem("%v; it begins anew", err)
		return t.do(journal.Reset)
	}
	for _, r := range records {
		if r.Digest != t.running { // that one is just on its way up
			t.report.problem("release %s %s; %s", r.Digest, r.Fate(), r.Next())
		}
	}
	return nil
}

// onTrial says whether the running release was jumped into and is not good yet.
func (t *trials) onTrial() bool {
	r, running := t.find()
	return running && !r.Good
}

// expected is what the running release must bring back.
func (t *trials) expected() trial.Expect {
	r, _ := t.find()
	return r.Expect
}

// before is what the last try of a release was to bring back, if there was one.
func (t *trials) before(d names.Digest) (e trial.Expect, tried bool) {
	_ = t.do(func(j journal) error {
		r, err := j.Find(d)
		e, tried = r.Expect, r.Tries > 0
		return err // one that cannot be read is reported by unfinished
	})
	return e, tried
}

// find is what the journal knew of the running release when it came up. Nothing
// known is a release on trial that nothing is expected of: the journal is gone.
func (t *trials) find() (r trial.Record, running bool) {
	if t.running.IsZero() {
		return r, false
	}
	_ = t.do(func(j journal) error {
		if t.record == nil {
			found, _ := j.Find(t.running) // an unreadable journal is reported by unfinished
			t.record = &found
		}
		r = *t.record
		return nil
	})
	return r, true
}

// cameUp notes that the running release came up.
func (t *trials) cameUp() {
	if _, running := t.find(); !running {
		return
	}
	if err := t.do(func(j journal) error { return j.Came(t.running) }); err != nil {
		t.report.problem("noting that release %s came up: %v", t.running, err)
	}
}

// ended notes why the trial of the running release ends.
func (t *trials) ended(why string) {
	if err := t.do(func(j journal) error { return j.Ended(t.running, why) }); err != nil {
		t.report.problem("noting the end of the trial: %v", err)
	}
}

// stays notes that the running release is good.
func (t *trials) stays() {
	if t.running.IsZero() {
		return
	}
	if ended, err := t.endGuard(); err != nil {
		t.report.problem("%v", err)
	} else if ended {
		t.report.say("the guard of this trial has ended")
	}
	err := t.do(func(j journal) error {
		err := j.Good(t.running)
		t.good = err == nil
		return err
	})
	if err != nil {
		t.report.problem("marking release %s as good: %v", t.running, err)
		return
	}
	t.report.say("release %s is good", t.running)
}

// lasted crosses out the tries of the running release, if it is good: it has run
// for long enough, or is ended on purpose.
func (t *trials) lasted() {
	err := t.work.do(func() error {
		if !t.good {
			return nil
		}
		return t.journal.Lasted(t.running)
	})
	if err != nil {
		t.report.problem("crossing out the tries of release %s: %v", t.running, err)
	}
}
