package operator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/control"
	"phase/appliance/machine/disk/flash"
)

// Codes of a Refused.
const (
	NotAuthorized  = "NotAuthorized"
	InvalidRequest = "InvalidRequest"
	Busy           = "QueueFull"       // too much is asked at once
	Conflict       = "Conflict"        // it cannot be done as things are
	NotANode       = "NotANode"        // nothing here can be updated
	Unreachable    = "PeerUnreachable" // the peer that was to be asked
	Failed         = "InternalError"   // it was begun and did not succeed
)

// Refused is the error of a question that was not carried out.
type Refused struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (r *Refused) Error() string { return r.Detail }

func refuse(code, format string, args ...any) error { return Refusef(code, format, args...) }

// Refusef makes a Refused.
func Refusef(code, format string, args ...any) *Refused {
	return &Refused{code, fmt.Sprintf(format, args...)}
}

// AsRefused is the error as a Refused; one that is none has the code Failed.
func AsRefused(err error) *Refused {
	if r, ok := errors.AsType[*Refused](err); ok {
		return r
	}
	return &Refused{Failed, err.Error()}
}

// MaxQuestion and MaxAnswer are the most bytes of each.
const (
	MaxQuestion = 2 * MaxOrder
	MaxAnswer   = 1 << 20
)

// Question is what the program update is asked over its socket: an order that an
// admin has signed, or else an action, which whoever may open the socket answers
// for.
type Question struct {
	Order []byte `json:"order,omitempty"` // an envelope
	Do    string `json:"do,omitempty"`
	// As in Order.
	Release string `json:"release,omitempty"`
	Disk    string `json:"disk,omitempty"`
	Erase   string `json:"erase,omitempty"`
}

// fits refuses what an action has no use for, and what is destroyed without having
// been named twice.
func (q Question) fits() error {
	switch {
	case q.Disk != "" && q.Do != Install, q.Erase != "" && q.Do != Install && q.Do != Reset:
		return refuse(InvalidRequest, "disk is for install alone, and erase for install and reset")
	case q.Do == Install && q.Disk == "":
		return refuse(InvalidRequest, "say which disk; `plasmd install` without one lists them")
	case q.Do == Install && q.Erase != q.Disk:
		return refuse(InvalidRequest, "all that is on %.60q would be lost: name it a second time, as what is to be erased", q.Disk)
	case q.Do == Reset && q.Erase == "":
		return refuse(InvalidRequest, "all that the node keeps would be lost: give its peer id, as what is to be erased")
	}
	return nil
}

// ParseQuestion reads a question.
func ParseQuestion(data []byte) (q Question, err error) {
	if err := strictjson.Unmarshal(data, &q, strictjson.RejectUnknown, strictjson.Limit(MaxQuestion)); err != nil {
		return q, refuse(InvalidRequest, "reading the question: %v", err)
	}
	signed := len(q.Order) > 0
	if signed == (q.Do != "") || signed && q.Release+q.Disk+q.Erase != "" {
		return q, refuse(InvalidRequest, "ask for an action or give a signed order, not both")
	}
	if !signed && q.Do != Challenge && !slices.Contains(Actions, q.Do) {
		return q, refuse(InvalidRequest, "there is no action %.40q; there are %q", q.Do, Actions)
	}
	if signed {
		return q, nil
	}
	return q, q.fits()
}

// Answer is what came of a question.
type Answer struct {
	Refused *Refused `json:"refused,omitempty"`
	Did     string   `json:"did,omitempty"` // in words, of an action that changes something or asks others
	Report  Report   `json:"report"`        // how things stand then
	// Disks and Installed are what init answers to Disks and Install.
	Disks     []flash.Candidate     `json:"disks,omitempty"`
	Installed *control.Installation `json:"installed,omitempty"`
	// Challenge is the answer to Challenge, and then all there is.
	Challenge []byte `json:"challenge,omitempty"`
}

// Report is how the updates of a node stand.
type Report struct {
	Node            string    `json:"node"`  // peer id, "" without a lasting one
	Clock           time.Time `json:"clock"` // what the clock of the node reads
	State           string    `json:"state"` // as statefile.Update has it
	Channel         string    `json:"channel"`
	Window          string    `json:"window"`           // "" for all day
	Watchdog        string    `json:"watchdog"`         // its name, or none
	RequireWatchdog bool      `json:"require_watchdog"` // no trial is begun without one
	Admins          string    `json:"admins"`           // peer ids, none, or "" for the holder of the token
	// Running is the release that runs; nil where that is not known.
	Running *Release `json:"running"`
	// Floor is below which nothing is taken from the network.
	Floor uint64 `json:"floor"`
	Root  Root   `json:"root"`
	Held  *Pin   `json:"held"` // by the owner, on a release; nil when not
	// Waiting is a release that is known and not taken yet; nil for none.
	Waiting *statefile.Waiting `json:"waiting"`
	// Applying is the release that apply takes, from then on until it has failed.
	Applying *statefile.Waiting `json:"applying"`
	Releases []Release          `json:"releases"` // in the store, newest first
	Taken    []Taken            `json:"taken"`    // the last ones, newest first
	// Attempts are the last few, newest first.
	Attempts []statefile.Attempt `json:"attempts"`
	Failures []Failure           `json:"failures"` // that peers tell of
	Problems []string            `json:"problems"` // what expires soon, what is damaged
}

// Whole is the report without lists that are not there: what another node has sent
// may leave them out.
func (r Report) Whole() Report {
	r.Releases, r.Taken = whole(r.Releases), whole(r.Taken)
	r.Attempts, r.Failures, r.Problems = whole(r.Attempts), whole(r.Failures), whole(r.Problems)
	return r
}

func whole[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Root is the newest root that is trusted.
type Root struct {
	Version uint64    `json:"version"`
	Expires time.Time `json:"expires"`
}

// Release is a release that a node runs or holds.
type Release struct {
	Version uint64    `json:"version"`
	Digest  string    `json:"digest"`
	Name    string    `json:"name"`
	Channel string    `json:"channel"`
	State   string    `json:"state"` // held, trial, good, failed; stub for that of the boot disk
	Tries   int       `json:"tries"`
	Reason  string    `json:"reason"` // why its last try ended
	Next    string    `json:"next"`   // when it may be tried again, in words
	Damaged bool      `json:"damaged"`
	Running bool      `json:"running"`
	Expires time.Time `json:"expires"`
}

// Pin is the release that the owner keeps a node on.
type Pin struct {
	Version uint64    `json:"version"`
	Digest  string    `json:"digest"`
	By      string    `json:"by"` // a peer id, or here
	At      time.Time `json:"at"`
}

// Taken says where a release came from.
type Taken struct {
	Version uint64    `json:"version"`
	Digest  string    `json:"digest"`
	At      time.Time `json:"at"`
	From    []Source  `json:"from"` // none: it was in the store already
	Seconds float64   `json:"seconds"`
	Root    uint64    `json:"root"` // version of the root it was verified by
	By      string    `json:"by"`   // who asked for it, as statefile.Attempt has it
}

// Source is one provider's part of a download.
type Source struct {
	Provider string `json:"provider"`
	Bytes    int64  `json:"bytes"`
}

// Failure is a release that did not come up at a peer, as it says itself.
type Failure struct {
	Peer    string `json:"peer"`
	Version uint64 `json:"version"`
	Digest  string `json:"digest"`
	Reason  string `json:"reason"`
	Counts  bool   `json:"counts"` // it is on the operator's list, and holds the release back here
}
