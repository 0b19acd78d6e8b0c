package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/release/fetch"
	"phase/appliance/release/operator"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// take is all from a choice to the jump. When the download came to nothing it
// names the providers that were dropped.
func (l *loop) take(ctx context.Context, c survey.Choice, by string) (dropped []string, err error) {
	v, m := c.Release, c.Release.Manifest()
	if err := l.Ready(ctx, v); err != nil {
		return nil, err
	}
	var size int64
	for _, a := range m.Artifacts {
		size += a.Size
	}
	l.show("fetching")
	start := time.Now()
	providers := slices.DeleteFunc(slices.Clone(c.Providers), func(p string) bool { return p == Store })
	if len(providers) < len(c.Providers) {
		slog.Info(fmt.Sprintf("taking version %d from the store", m.Version))
	} else {
		slog.Info(fmt.Sprintf("fetching version %d, %s from %s", m.Version, ui.Bytes(size), ui.Count(len(providers), "provider")))
	}
	payload, report, err := l.Fetch(ctx, v, providers)
	for _, p := range report.Providers {
		if p.Dropped != nil {
			dropped = append(dropped, p.URL)
			l.attempt(p.URL, &v, "refused", p.Dropped)
			slog.Warn(fmt.Sprintf("dropped %s: %v", p.URL, p.Dropped))
		}
	}
	if err != nil {
		return dropped, err
	}
	// Others made up for those that were dropped: they are not named again.
	defer func() { err = errors.Join(err, payload.Close()) }()
	switch {
	case report.Bytes > 0:
		slog.Info(fmt.Sprintf("fetched and verified version %d in %s", m.Version, ui.Duration(time.Since(start))))
	case len(providers) == len(c.Providers):
		slog.Info(fmt.Sprintf("all of version %d is here already", m.Version))
	}
	if wasted := report.Bytes + report.Resumed - size; wasted > 0 {
		slog.Info(fmt.Sprintf("%d bytes came in vain: wrong, or twice", wasted))
	}

	took := time.Since(start)

	// A root that came meanwhile may have taken back the key that signed it.
	root := l.Root()
	if _, err := root.VerifyHeld(v.Envelope(), l.Channel, l.Arch); err != nil {
		return providers, err
	}
	l.show("loading")
	start = time.Now()
	if err := payload.Load(ctx); err != nil {
		return nil, err
	}
	slog.Info(fmt.Sprintf("loaded version %d in %s", m.Version, ui.Duration(time.Since(start))))
	l.attemptBy(c.Providers[0], &v, "accepted", nil, statefile.Attempt{Seconds: took.Seconds(), Root: root.Version(), By: by})
	if l.Taken != nil {
		l.Taken(operator.Taken{
			Version: m.Version, Digest: v.Digest().String(), At: l.Now().UTC(), From: sources(report),
			Seconds: took.Seconds(), Root: root.Version(), By: by,
		})
	}
	return nil, l.jump(ctx, v)
}

// sources are the parts that providers have in a download.
func sources(report fetch.Report) []operator.Source {
	list := []operator.Source{}
	for _, p := range report.Providers {
		if p.Bytes > 0 && p.Dropped == nil {
			list = append(list, operator.Source{Provider: p.URL, Bytes: p.Bytes})
		}
	}
	return list
}

// jump gives what runs here time to end, and asks init. From then on nobody can
// take the jump back.
func (l *loop) jump(ctx context.Context, v trust.Verified) error {
	undo := func() {}
	if l.Drain != nil {
		l.show("draining")
		undo = l.Drain(ctx)
	}
	err := l.leave(ctx)
	if err == nil {
		l.show("jumping")
		slog.Info(fmt.Sprintf("jumping into version %d %s", v.Manifest().Version, v.Digest()))
		err = l.Jump(ctx, v)
	}
	if err != nil {
		l.mu.Lock()
		l.jumping = false
		l.mu.Unlock()
		undo()
	}
	return err
}

// leave is the moment from which a jump cannot be taken back.
func (l *loop) leave(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.jumping = true
	return nil
}

// attempt records what came of one provider or one download.
func (l *loop) attempt(provider string, v *trust.Verified, result string, err error) {
	l.attemptBy(provider, v, result, err, statefile.Attempt{})
}

// attemptBy is attempt with more that is known of it.
func (l *loop) attemptBy(provider string, v *trust.Verified, result string, err error, a statefile.Attempt) {
	a.At, a.Provider, a.Result = l.Now(), provider, result
	if err != nil {
		a.Code, a.Reason = string(refusal.CodeOf(err)), ui.Clean(err.Error())
	}
	if v != nil {
		a.Version, a.Digest = v.Manifest().Version, v.Digest().String()
	}
	l.report(func(u *statefile.Update) {
		u.Last = &a
		// A provider that does the same again takes no further place: no
		// one can push what others did out of sight by repeating itself.
		history := slices.DeleteFunc(slices.Clone(u.History), func(old statefile.Attempt) bool {
			return old.Provider == a.Provider && old.Result == a.Result && old.Code == a.Code && old.Digest == a.Digest
		})
		history = slices.Insert(history, 0, a)
		u.History = history[:min(len(history), historyMax)]
	})
}

func (l *loop) show(name string) {
	l.report(func(u *statefile.Update) { u.State = name })
}

// report changes the shown state and hands it out.
func (l *loop) report(change func(*statefile.Update)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.shown)
	l.Report(l.shown)
}
