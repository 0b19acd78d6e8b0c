package update

import (
	"fmt"
	"log/slog"
	"slices"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// Store is what a release that the node holds already is said to be from.
const Store = "store"

// offers lists what providers have that the root stands for, and when there may
// be more; zero for never.
func (l *loop) offers() ([]survey.Offer, time.Time) {
	offers, more := l.survey.Offers()
	return slices.DeleteFunc(offers, func(o survey.Offer) bool { return !l.vouched(o.Release) }), more
}

// choose picks the release to jump into, from what is offered and what is held;
// its Release is not valid when there is none. Waiting is the newest there is,
// when it is not taken now.
func (l *loop) choose(offers []survey.Offer) (c survey.Choice, waiting *statefile.Waiting) {
	if l.pinned() && l.applying == nil {
		if held := l.startable(true); len(held) > 0 {
			return survey.Choice{Release: held[0], Providers: []string{Store}}, nil
		}
		const why = "this node is held on a release; `plasmd update resume` lets go"
		switch c, waiting = l.newest(offers); {
		case waiting != nil: // whatever else stands against it, that does first
			waiting.Why, waiting.Until = why, time.Time{}
		case c.Release.Valid():
			waiting = waits(c.Release, why, time.Time{})
		}
		return survey.Choice{}, waiting
	}
	return l.newest(offers)
}

// newest is choose for a node that is not held on a release.
func (l *loop) newest(offers []survey.Offer) (survey.Choice, *statefile.Waiting) {
	offers = slices.Clone(offers)
	for _, v := range l.startable(false) {
		offers = append(offers, survey.Offer{Provider: Store, Release: v})
	}
	floor, _ := l.runs()
	if l.applying != nil {
		if want := l.applying.release; !want.IsZero() {
			offers = slices.DeleteFunc(offers, func(o survey.Offer) bool { return o.Release.Digest() != want })
		}
		c, _ := survey.Choose(offers, floor, l.Failed)
		return c, nil
	}
	best, ok := survey.Choose(offers, floor, l.Failed)
	if !ok {
		return best, nil
	}
	waiting := l.why(best.Release)
	if waiting == nil {
		return best, nil
	}
	// An older one than what is offered to others first may be for this node.
	c, _ := survey.Choose(slices.DeleteFunc(offers, func(o survey.Offer) bool { return l.why(o.Release) != nil }), floor, l.Failed)
	return c, waiting
}

// why says why a release is not taken by itself now; nil when it is.
func (l *loop) why(v trust.Verified) *statefile.Waiting {
	if l.Out != nil {
		if why := l.Out(v); why != "" {
			return waits(v, why, time.Time{})
		}
	}
	if l.May != nil {
		if why, until := l.May(v); why != "" {
			return waits(v, why, until)
		}
	}
	return nil
}

func waits(v trust.Verified, why string, until time.Time) *statefile.Waiting {
	return &statefile.Waiting{Version: v.Manifest().Version, Digest: v.Digest().String(), Why: why, Until: until}
}

func (l *loop) pinned() bool { return l.Pinned != nil && l.Pinned() }

func (l *loop) startable(pinned bool) []trust.Verified {
	if l.Startable == nil {
		return nil
	}
	return l.Startable(pinned)
}

// wait shows what is not taken now, and says it when it is news.
func (l *loop) wait(w *statefile.Waiting) {
	before := l.shown.Waiting // written by the loop alone
	switch {
	case w == nil && before == nil, w != nil && before != nil && *w == *before:
		return
	case w != nil && (before == nil || before.Digest != w.Digest || before.Why != w.Why):
		slog.Info(fmt.Sprintf("version %d is not taken now: %s", w.Version, w.Why))
	}
	l.report(func(u *statefile.Update) { u.Waiting = w })
}
