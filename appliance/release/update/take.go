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
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// take is all from a choice to the jump. When the download came to nothing it
// names the providers that were dropped.
func (l *loop) take(ctx context.Context, c survey.Choice) (dropped []string, err error) {
	v, m := c.Release, c.Release.Manifest()
	if err := l.Ready(ctx, v); err != nil {
		return nil, err
	}
	var size int64
	for _, a := range m.Artifacts {
		size += a.Size
	}
	l.show("fetching")
	slog.Info(fmt.Sprintf("fetching version %d, %s from %s", m.Version, ui.Bytes(size), ui.Count(len(c.Providers), "provider")))
	start := time.Now()
	payload, report, err := l.Fetch(ctx, v, c.Providers)
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
	slog.Info(fmt.Sprintf("fetched and verified version %d in %s", m.Version, ui.Duration(time.Since(start))))

	// A root that came meanwhile may have taken back the key that signed it.
	if _, err := l.Root().VerifyHeld(v.Envelope(), l.Channel, l.Arch); err != nil {
		return c.Providers, err
	}
	l.show("loading")
	start = time.Now()
	if err := payload.Load(ctx); err != nil {
		return nil, err
	}
	slog.Info(fmt.Sprintf("loaded version %d in %s", m.Version, ui.Duration(time.Since(start))))
	l.attempt(c.Providers[0], &v, "accepted", nil)
	l.show("jumping")
	slog.Info(fmt.Sprintf("jumping into version %d %s", m.Version, v.Digest()))
	return nil, l.Jump(ctx, v)
}

// attempt records what came of one provider or one download.
func (l *loop) attempt(provider string, v *trust.Verified, result string, err error) {
	a := statefile.Attempt{At: l.Now(), Provider: provider, Result: result}
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
