package kept

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"phase/appliance/base/names"
	"phase/appliance/release/choice"
	"phase/appliance/release/fetch"
	"phase/appliance/release/store/disk"
)

// Damaged are the releases in the store that lack bytes, newest first. None of them
// is jumped into before it has them again.
func (k *Keeper) Damaged() []choice.Candidate {
	return slices.DeleteFunc(k.List(), choice.Candidate.Whole)
}

// maxFallbacks is how many good releases are worth mending: the newest, and what is
// left when that is lost.
const maxFallbacks = 2

// wanted are the releases that this node keeps whatever is wrong with them: what
// runs, what the owner keeps it on, and the newest good ones.
func (k *Keeper) wanted(list []choice.Candidate) map[names.Digest]bool {
	pin, wanted, good := k.Store.Pin(), map[names.Digest]bool{}, 0
	for _, c := range list {
		d := c.Digest()
		wanted[d] = d == k.Running.Digest() || d == pin.Release || d == pin.Next
		if c.Record.Good && good < maxFallbacks {
			wanted[d] = true
			good++
		}
	}
	return wanted
}

// errDownload is why a repair ends before its time.
var errDownload = errors.New("a download goes first")

// Mend fetches again what is missing of the releases that this node wants to keep,
// from any provider that has it, and hashes it on the disk. The error is what could
// not be mended, which stays in the store as it is.
func (k *Keeper) Mend(ctx context.Context, providers []string, o fetch.Options) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	k.stop.Store(&stop)
	defer k.stop.Store(nil)
	list := k.List()
	wanted := k.wanted(list)
	var errs []error
	for _, c := range list {
		if !c.Whole() && wanted[c.Digest()] && ctx.Err() == nil {
			if err := k.mend(ctx, c, providers, o); err != nil {
				errs = append(errs, fmt.Errorf("version %d of the store is damaged, lacks %q and is not started; it is asked for again later: %w", c.Manifest().Version, c.Missing, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (k *Keeper) mend(ctx context.Context, c choice.Candidate, providers []string, o fetch.Options) error {
	if len(providers) == 0 {
		return errors.New("no provider is known")
	}
	download, err := k.Store.Begin(c.Verified)
	if err != nil {
		return err
	}
	defer download.Close()
	list := k.List()
	keep := k.keep(list, maxKept)
	if err := k.Store.MakeRoom(c.Verified, releases(list), func(r disk.Release) bool { return keep[r.Digest()] }); err != nil {
		return err
	}
	o.Names = c.Missing
	report, err := fetch.Release(ctx, c.Verified, providers, download, o)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	if err := download.Commit(); err != nil {
		return err
	}
	found, err := k.Store.Check(ctx, []disk.Release{c.Release})
	for _, p := range found {
		err = errors.Join(err, errors.New("the disk did not keep it: "+p.String()))
	}
	if err == nil {
		slog.Info(fmt.Sprintf("version %d of the store is whole again: %q, %d bytes, came from %q", c.Manifest().Version, c.Missing, report.Bytes, from(report)))
	}
	return err
}

// from are the providers that have a part in a download.
func from(report fetch.Report) (list []string) {
	for _, p := range report.Providers {
		if p.Bytes > 0 && p.Dropped == nil {
			list = append(list, p.URL)
		}
	}
	return list
}
