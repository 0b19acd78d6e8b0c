package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"phase/appliance/daemon/finder"
	"phase/appliance/release/fetch"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
	"phase/appliance/release/update"
	"phase/appliance/release/update/kept"
)

// checkEvery is how often the bytes of the store are hashed; the first time is soon
// after the start.
const (
	checkFirst = time.Minute
	checkEvery = 24 * time.Hour
	// mendAgain is how often the providers there are then are asked for what is
	// still missing, and mendTime how long that may take.
	mendAgain = 10 * time.Minute
	mendTime  = 10 * time.Minute
	mendFrom  = 16 // providers at once
)

// keeps says whether this node has a disk to keep releases on.
func (n *node) keeps() bool {
	info, err := os.Stat(filepath.Dir(n.commandLine.Store))
	return err == nil && info.IsDir() && n.options.Cache && !n.options.NoWrite
}

// openStore opens the store on the disk, where this node keeps one. A node whose
// disk cannot be used takes releases from memory alone.
func (n *node) openStore() {
	if !n.keeps() {
		return
	}
	store, err := disk.Create(n.commandLine.Store)
	if err != nil {
		slog.Warn(fmt.Sprintf("%v; releases are taken from memory alone", err))
		if store, err = disk.Open(n.commandLine.Store); err != nil {
			return
		}
	}
	if err := staging.Roots(store.Path(), n.roots); err != nil {
		slog.Warn(fmt.Sprintf("%v; the chain of roots ends there", err))
	}
	n.kept = &kept.Keeper{
		Store: store, Roots: n.roots, Running: n.running, Channel: n.options.Channel, Arch: n.running.Manifest().Arch,
		Journal: trial.Here,
		Machine: func() (kexec.Options, error) { return kexec.OnNode(n.State, "update") },
	}
	n.shown.damaged = damaged(n.kept)
}

// watchStore has the store keep the running release, checks it now and then, and
// deletes what is not needed. What is found damaged is mended: the running release
// from memory, others from providers.
func (n *node) watchStore(ctx context.Context, o *update.Operator) {
	n.keepRunning(ctx)
	check := time.Now().Add(checkFirst)
	for wait := checkFirst; ; wait = n.lookAgain(check) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if !time.Now().Before(check) {
			if err := n.kept.Check(ctx); err != nil && ctx.Err() == nil {
				slog.Warn(fmt.Sprintf("checking the store: %v", err))
			}
			check = time.Now().Add(checkEvery)
		}
		n.keepRunning(ctx)
		n.mend(ctx, o)
		if err := n.kept.SettlePin(); err != nil {
			slog.Warn(fmt.Sprintf("moving the hold: %v", err))
		}
		if err := n.kept.Prune(); err != nil {
			slog.Warn(fmt.Sprintf("pruning the store: %v", err))
		}
	}
}

// lookAgain is how long the store is left alone.
func (n *node) lookAgain(check time.Time) time.Duration {
	left := time.Until(check)
	if len(n.kept.Damaged()) > 0 {
		left = min(left, mendAgain)
	}
	return max(left, 0)
}

// mend has what is damaged in the store fetched again, and shows what is damaged
// then.
func (n *node) mend(ctx context.Context, o *update.Operator) {
	defer func() { n.shown.mark(damaged(n.kept)) }()
	if len(n.kept.Damaged()) == 0 {
		return
	}
	n.shown.mark(damaged(n.kept))
	providers, err := o.Providers(ctx)
	if err != nil { // this node is restarting
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mendTime)
	defer cancel()
	if err := n.kept.Mend(ctx, providers[:min(len(providers), mendFrom)], fetch.Options{Ways: []fetch.Way{finder.Way(n.Socket)}}); err != nil {
		slog.Warn(err.Error())
	}
}

// keepRunning has the store keep the running release, where that came over a jump.
func (n *node) keepRunning(ctx context.Context) {
	if n.carried == nil {
		return
	}
	if err := n.kept.KeepRunning(ctx, n.carried); err != nil && ctx.Err() == nil {
		slog.Warn(err.Error())
	}
}

// fetchKept fetches a release into the store, or where the disk has no room for it
// to memory, as a node without a disk does.
func (n *node) fetchKept(ctx context.Context, v trust.Verified, providers []string) (update.Payload, fetch.Report, error) {
	if n.kept == nil {
		return n.fetch(ctx, v, providers)
	}
	p, report, err := n.kept.Fetch(ctx, v, providers, fetch.Options{Ways: []fetch.Way{finder.Way(n.Socket)}})
	if errors.Is(err, kept.ErrNoRoom) {
		slog.Warn(err.Error())
		return n.fetch(ctx, v, providers)
	}
	return p, report, err
}
