package rotation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/manifest"
	"phase/appliance/release/record"
	"phase/appliance/release/roots/chain"
	"phase/appliance/release/trust"
)

// Effects are what a fleet will do once a root is published.
type Effects struct {
	Version uint64    `json:"version"`
	Fleet   string    `json:"fleet"` // "" for a version 1 that has too few signatures
	Expires time.Time `json:"expires"`
	Days    int       `json:"expires_in_days"`
	// Changes since the version before, in words.
	Changes []string `json:"changes"`
	// Signatures that the root must carry; Complete when none is missing.
	Signatures []Signatures `json:"signatures"`
	Complete   bool         `json:"complete"`
	// Walkable says that a node which knows version 1 alone comes to this root.
	Walkable bool `json:"walkable"`
	// Releases are those that were looked at, Floors the highest of them by
	// channel and arch.
	Releases []Release `json:"releases"`
	Floors   []Floor   `json:"floors"`
	Warnings []string  `json:"warnings"`
}

// Signatures is one threshold.
type Signatures struct {
	By        uint64   `json:"by_root"` // the version whose role root must sign
	Threshold int      `json:"threshold"`
	Missing   int      `json:"missing"`
	Signed    []string `json:"signed"`
	Others    []string `json:"not_signed"`
}

// Release is one that was looked at. Before and After are the code of the
// refusal under the root before and under this one, "" when it is accepted.
type Release struct {
	File    string       `json:"file"`
	Channel string       `json:"channel"`
	Arch    string       `json:"arch"`
	Version uint64       `json:"version"`
	Digest  names.Digest `json:"digest"`
	Before  refusal.Code `json:"before"`
	After   refusal.Code `json:"after"`
}

// Floor is the highest version that nodes may have verified, of the releases
// looked at: below it they take nothing. Those that this root does not vouch
// for no longer count.
type Floor struct {
	Channel string `json:"channel"`
	Arch    string `json:"arch"`
	Before  uint64 `json:"before"`
	After   uint64 `json:"after"`
}

// Held is a release to look at: where it lies, and its envelope.
type Held struct {
	File     string
	Envelope []byte
}

// Look says what a fleet that trusts the chain before will do with a root. The
// zero Chain stands before version 1.
func Look(before chain.Chain, draft trust.Draft, held []Held, now time.Time) Effects {
	spec, last := draft.Spec(), before.Last()
	e := Effects{
		Version: spec.Version, Fleet: before.Fleet(), Expires: spec.Expires, Days: int(spec.Expires.Sub(now) / (24 * time.Hour)),
		Changes: Differences(last.Spec(), spec), Complete: true,
		Signatures: Carried(draft, last), Releases: []Release{}, Floors: []Floor{}, Warnings: []string{},
	}
	for _, s := range e.Signatures {
		e.Complete = e.Complete && s.Missing == 0
	}
	after := e.walk(before, draft)
	for _, h := range held {
		e.judge(last, draft, h, now)
		e.publish(after, h, now)
	}
	e.warn(spec, now)
	return e
}

// Carried are the signatures that a root carries, and must: by the version before
// it, unless that is the zero Root, and by its own role root.
func Carried(draft trust.Draft, before trust.Root) []Signatures {
	list := []Signatures{}
	for _, need := range draft.Needs(before) {
		list = append(list, Signatures{need.Version, need.Threshold, need.Missing(), orEmpty(need.Signed), orEmpty(need.Others)})
	}
	return list
}

func (e *Effects) warning(format string, args ...any) {
	e.Warnings = append(e.Warnings, fmt.Sprintf(format, args...))
}

// walk goes the way of a node that knows the first root alone, and returns the
// chain it comes to; the zero Chain when it does not.
func (e *Effects) walk(before chain.Chain, draft trust.Draft) (after chain.Chain) {
	if e.Version > chain.MaxLinks {
		e.warning("root version %d: nodes follow at most %d, so none takes it; the fleet must be flashed anew with a new version 1", e.Version, chain.MaxLinks)
		return after
	}
	if !e.Complete {
		return after
	}
	var err error
	if e.Version == 1 {
		after, err = chain.Parse(draft.Raw())
	} else {
		after, err = before.Append(draft.Raw())
	}
	if err != nil {
		e.warning("no node takes it: %v", err)
		return chain.Chain{}
	}
	e.Walkable, e.Fleet = true, after.Fleet()
	return after
}

// judge looks at one release under both roots.
func (e *Effects) judge(before trust.Root, draft trust.Draft, h Held, now time.Time) {
	env, err := envelope.Parse(h.Envelope)
	var m manifest.Manifest
	if err == nil {
		m, err = manifest.Parse(env.Payload)
	}
	if err != nil {
		e.warning("%s is no release: %v", h.File, err)
		return
	}
	policy := trust.Policy{Channel: trust.Any, Arch: trust.Any, Now: now}
	was, is := before.Check(h.Envelope, policy), draft.Check(h.Envelope, policy)
	e.Releases = append(e.Releases, Release{h.File, m.Channel, m.Arch, m.Version, names.Sum(env.Payload), first(was), first(is)})
	at := slices.IndexFunc(e.Floors, func(f Floor) bool { return f.Channel == m.Channel && f.Arch == m.Arch })
	if at < 0 {
		at, e.Floors = len(e.Floors), append(e.Floors, Floor{Channel: m.Channel, Arch: m.Arch})
	}
	floor := &e.Floors[at]
	if vouched(was) {
		floor.Before = max(floor.Before, m.Version)
	}
	if vouched(is) {
		floor.After = max(floor.After, m.Version)
	}
}

// publish warns when the roots and a release are too large for the DHT.
func (e *Effects) publish(roots chain.Chain, h Held, now time.Time) {
	if _, err := record.Make(roots, h.Envelope, now); refusal.CodeOf(err) == refusal.Size {
		e.warning("%s is not found through the DHT: %v", h.File, err)
	}
}

func first(checks []trust.Check) refusal.Code {
	for _, c := range checks {
		if !c.OK {
			return c.Code
		}
	}
	return ""
}

// vouched says whether enough keys have signed: expiry is no part of it, as it
// is none of a floor.
func vouched(checks []trust.Check) bool {
	return !slices.ContainsFunc(checks, func(c trust.Check) bool { return !c.OK && c.Name != "root" && c.Name != "expires" })
}

// warn says what a person may not have meant.
func (e *Effects) warn(after trust.RootSpec, now time.Time) {
	if ending := trust.Ending("the new root", after.Expires, now); ending != "" {
		e.warning("%s", ending)
	}
	for _, name := range slices.Sorted(maps.Keys(after.Roles)) {
		role := after.Roles[name]
		switch {
		case len(role.Keys) == 1:
			e.warning("role %s has one key: whoever has it decides alone, and it must not be lost", name)
		case role.Threshold == len(role.Keys):
			e.warning("role %s needs all its %d keys: when one is lost, nothing can be signed any more", name, len(role.Keys))
		case role.Threshold == 1:
			e.warning("role %s needs one of its %d keys: each of them decides alone", name, len(role.Keys))
		}
	}
	for _, r := range e.Releases {
		if r.Before == "" && r.After != "" {
			e.warning("%s/%s version %d is refused (%s): sign it again, with a version above all others", r.Channel, r.Arch, r.Version, r.After)
		}
	}
	for _, f := range e.Floors {
		if f.After < f.Before {
			e.warning("%s/%s: the floor falls from version %d to %d, so that nodes take versions above %d again", f.Channel, f.Arch, f.Before, f.After, f.After)
		}
	}
}

// Differences says in words what one root has otherwise than another; all of
// it for the zero RootSpec.
func Differences(before, after trust.RootSpec) []string {
	list := []string{}
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	all := map[string]bool{}
	for _, spec := range []trust.RootSpec{before, after} {
		for name := range spec.Roles {
			all[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		old, is := before.Roles[name], after.Roles[name]
		was, now := ids(old), ids(is)
		if len(is.Keys) == 0 {
			say("role %s is dropped", name)
			continue
		}
		for _, id := range now {
			if !slices.Contains(was, id) {
				say("role %s: + key %s", name, id)
			}
		}
		for _, id := range was {
			if !slices.Contains(now, id) {
				say("role %s: - key %s", name, id)
			}
		}
		if old.Threshold != is.Threshold || len(was) != len(now) {
			say("role %s: %d of %d must sign%s", name, is.Threshold, len(now), formerly(old))
		}
	}
	return list
}

func formerly(role trust.RoleSpec) string {
	if len(role.Keys) == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %d before", role.Threshold, len(role.Keys))
}

func ids(role trust.RoleSpec) []string {
	list := []string{}
	for _, key := range role.Keys {
		list = append(list, envelope.KeyID(key))
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

func orEmpty(list []string) []string { return append([]string{}, list...) }
