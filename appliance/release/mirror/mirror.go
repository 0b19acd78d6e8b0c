// Package mirror keeps the newest release of another arch in a folder, so that a
// node serves it to machines that this node could not boot itself. What is kept
// was verified, and is never started here.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/base/refusal"
	"phase/appliance/base/ui"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/survey"
	"phase/appliance/release/trust"
)

// Times until what did not work is tried again.
const (
	firstRetry   = 10 * time.Second
	longestRetry = 10 * time.Minute
)

// Mirror keeps one release line. Its folder is one that plasmd serves:
// <dir>/<channel>/<arch>/… and <dir>/root/<n>.json.
type Mirror struct {
	Dir           string
	Channel, Arch string
	Roots         *walk.Roots
	// Survey finds and asks: its Finders, Named, Get and bounds are the caller's.
	Survey *survey.Survey
	Fetch  fetch.Options
	// Free is the room on the disk, and Spare what of it must stay free beside a
	// mirrored release, both in bytes.
	Free  func() (int64, error)
	Spare int64
	Now   func() time.Time
}

// Run keeps the newest release that providers have, until ctx ends. It returns the
// error of a finder that could not start.
func (m *Mirror) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	m.Survey.Channel, m.Survey.Arch = m.Channel, m.Arch
	m.Survey.Check = func(_ context.Context, _, _, _ string, envelope []byte) (trust.Verified, error) {
		return m.verify(envelope)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		cancel(m.Survey.Run(ctx, func(a survey.Answer) {
			if a.Err == nil && a.News {
				select {
				case wake <- struct{}{}:
				default:
				}
			}
		}))
	}()
	retry, again := time.Duration(0), (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wake:
		case <-again:
		}
		switch err := m.take(ctx); {
		case err == nil:
			retry, again = 0, nil
		case ctx.Err() == nil:
			slog.Warn(fmt.Sprintf("mirror of %s: %v", layout.Release(m.Channel, m.Arch), err))
			retry = min(max(2*retry, firstRetry), longestRetry)
			again = time.After(retry)
		}
	}
}

// held is what the folder has; not valid when it has nothing that the root vouches for.
func (m *Mirror) held() trust.Verified {
	held, err := staging.Held(m.Dir, m.Roots.Last(), m.Channel, m.Arch)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Warn(fmt.Sprintf("mirror of %s: what is there will be replaced: %v", layout.Release(m.Channel, m.Arch), err))
	}
	return held
}

// verify takes a release that is newer than the one held, or that one.
func (m *Mirror) verify(envelope []byte) (trust.Verified, error) {
	policy := trust.Policy{Channel: m.Channel, Arch: m.Arch, Now: m.Now()}
	root := m.Roots.Last()
	if held, err := staging.Held(m.Dir, root, m.Channel, m.Arch); err == nil {
		policy.Floor, policy.FloorDigest = root.Floor(m.Channel, m.Arch, held.Envelope())
	}
	return root.Verify(envelope, policy)
}

// take downloads the newest release offered, if it is not there.
func (m *Mirror) take(ctx context.Context) error {
	offers, _ := m.Survey.Offers()
	var best trust.Verified
	var from []string
	for _, o := range offers {
		switch newer := !best.Valid() || o.Release.Manifest().Version > best.Manifest().Version; {
		case newer:
			best, from = o.Release, []string{o.Provider}
		case o.Release.Digest() == best.Digest():
			from = append(from, o.Provider)
		}
	}
	if !best.Valid() {
		return nil
	}
	// The root may be another one since it was offered.
	if _, err := m.verify(best.Envelope()); err != nil {
		return err
	}
	held := m.held()
	place, err := staging.Open(m.Dir, best)
	if err != nil {
		return err
	}
	defer place.Close()
	missing, err := place.Missing(ctx, manifest.Required)
	if err != nil {
		return err
	}
	if len(missing) == 0 && held.Valid() && held.Digest() == best.Digest() {
		return nil
	}
	if err := m.room(best, missing); err != nil {
		return err
	}
	if len(missing) > 0 {
		options := m.Fetch
		options.Names = missing
		report, err := fetch.Release(ctx, best, from, place, options)
		for _, p := range report.Providers {
			if p.Dropped != nil {
				m.Survey.Dropped(p.URL)
			}
		}
		if err != nil {
			return fmt.Errorf("fetching version %d: %w", best.Manifest().Version, err)
		}
	}
	for _, root := range m.Roots.List() {
		if err := staging.KeepRoot(m.Dir, root); err != nil {
			return err
		}
	}
	if err := place.Commit(); err != nil {
		return err
	}
	slog.Info(fmt.Sprintf("mirrors %s version %d, from %v", layout.Release(m.Channel, m.Arch), best.Manifest().Version, from))
	return nil
}

// room refuses a release for which the disk has no room.
func (m *Mirror) room(v trust.Verified, missing []string) error {
	need := m.Spare
	for _, name := range missing {
		need += v.Manifest().Artifacts[name].Size
		if info, err := os.Stat(filepath.Join(m.Dir, layout.Release(m.Channel, m.Arch), layout.FileName(name)+layout.PartSuffix)); err == nil {
			need -= info.Size() // what an earlier download left
		}
	}
	free, err := m.Free()
	if err != nil {
		return err
	}
	if free < need {
		return refusal.New(refusal.Size, "the disk has %s free, and to mirror version %d beside this node's own releases takes %s; use a larger disk, or leave phase.mirror out",
			ui.Bytes(free), v.Manifest().Version, ui.Bytes(need))
	}
	return nil
}
