// Package kept is the updater's hand on the store on disk: what it takes is
// downloaded there, and goes into the kernel from there. It keeps the floor, the
// roots and the last releases, and looks after the bytes.
package kept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"phase/appliance/base/names"
	"phase/appliance/base/refusal"
	"phase/appliance/release/choice"
	"phase/appliance/release/fetch"
	"phase/appliance/release/kexec"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
	"phase/appliance/release/update"
)

// Keeper is the store of one node. All fields are needed.
type Keeper struct {
	Store   *disk.Store
	Roots   *walk.Roots
	Running trust.Verified
	Channel string
	Arch    string
	Journal func() trial.Journal
	// Machine is the machine as it is now, for a load.
	Machine func() (kexec.Options, error)

	mu sync.Mutex // held by what writes: a download, a check, a deletion
	// stop ends the repair that holds mu, nil for none: a download does not wait for
	// providers that take their time over one.
	stop atomic.Pointer[context.CancelCauseFunc]
}

// maxKept is how many releases stay: the one that runs, the one before it, and the
// one that is tried.
const maxKept = 3

// List is what is in the store, newest first; what is wrong with it is logged.
func (k *Keeper) List() []choice.Candidate {
	list, err := choice.Candidates(k.Store, k.Roots.Last(), k.Arch, k.Journal())
	if err != nil {
		slog.Warn(err.Error())
	}
	return list
}

// Startable are the releases in the store that may be jumped into now instead of
// the running one, best first. With pinned those alone that the owner keeps the
// node on, if he does.
func (k *Keeper) Startable(pinned bool) (list []trust.Verified) {
	node := choice.Node{Running: k.Running, Channel: k.Channel, Trials: true, Up: k.Journal().Up()}
	if pin := k.Store.Pin(); pinned {
		node.Pin, node.Next = pin.Release, pin.Next
	}
	for _, c := range node.Order(k.List()) {
		list = append(list, c.Verified)
	}
	return list
}

// Floor is the version below which nothing is taken from the network, and the one
// release that may have it.
func (k *Keeper) Floor() (version uint64, digest names.Digest) {
	if m := k.Running.Manifest(); m.Channel == k.Channel {
		version, digest = m.Version, k.Running.Digest()
	}
	if v, ok := k.Store.Floor(k.Roots.Last(), k.Channel, k.Arch); ok && v.Manifest().Version > version {
		version, digest = v.Manifest().Version, v.Digest()
	}
	return version, digest
}

// Verified notes what was verified: the floor rises, and the roots that led to it
// are kept. A disk that cannot be written is logged: the node goes on.
func (k *Keeper) Verified(v trust.Verified) {
	errs := []error{k.Store.RaiseFloor(k.Roots.Last(), v)}
	for _, r := range k.Roots.List()[1:] {
		errs = append(errs, k.Store.AddRoot(r))
	}
	if err := errors.Join(errs...); err != nil {
		slog.Warn(fmt.Sprintf("noting version %d in the store: %v", v.Manifest().Version, err))
	}
}

// Fetch downloads what the store lacks of a release and keeps it. The error is
// ErrNoRoom when the disk has no room for it beside the releases that must stay.
func (k *Keeper) Fetch(ctx context.Context, v trust.Verified, providers []string, o fetch.Options) (update.Payload, fetch.Report, error) {
	if stop := k.stop.Load(); stop != nil {
		(*stop)(errDownload)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	download, err := k.Store.Begin(v)
	if err != nil {
		return nil, fetch.Report{}, err
	}
	defer download.Close()
	var report fetch.Report
	if o.Names = download.Missing(); len(o.Names) > 0 {
		if err := k.makeRoom(v); err != nil {
			return nil, report, errors.Join(ErrNoRoom, err)
		}
		if report, err = fetch.Release(ctx, v, providers, download, o); err != nil {
			return nil, report, err
		}
	}
	if err := download.Commit(); err != nil {
		return nil, report, fmt.Errorf("keeping version %d: %w", v.Manifest().Version, err)
	}
	return &payload{keeper: k, release: v}, report, nil
}

// KeepRunning has the store keep the release that runs, from the files that it was
// started with: a machine that got it over the network before it had a disk, or
// whose disk lost it, has it at the next power-on too. An error is why it does not.
func (k *Keeper) KeepRunning(ctx context.Context, files map[string]string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	download, err := k.Store.Begin(k.Running)
	if err != nil {
		return err
	}
	defer download.Close()
	missing := download.Missing()
	if len(missing) > 0 {
		if err := k.makeRoom(k.Running); err != nil {
			return errors.Join(ErrNoRoom, err)
		}
	}
	for _, name := range missing {
		if err := copyArtifact(ctx, download, name, files[name]); err != nil {
			return fmt.Errorf("keeping the running release: its %s: %w", name, err)
		}
	}
	return download.Commit()
}

// copyArtifact brings an artifact into the store from a file, and checks its bytes
// where they are then.
func copyArtifact(ctx context.Context, d *disk.Download, name, file string) error {
	want := d.Release().Manifest().Artifacts[name]
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	region, err := d.Region(name, want.Size)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.NewOffsetWriter(region, 0), io.LimitReader(f, want.Size)); err != nil {
		return err
	}
	is, err := manifest.Measure(ctx, io.NewSectionReader(region, 0, want.Size))
	if err == nil && is != want {
		err = refusal.New(refusal.Digest, "%s is %s, signed is %s", file, is.SHA256, want.SHA256)
	}
	return err
}

// ErrNoRoom is the error of a disk that is too small, or full.
var ErrNoRoom = errors.New("the disk has no room for another release")

func (k *Keeper) makeRoom(v trust.Verified) error {
	list := k.List()
	keep := k.keep(list, 2) // the one that comes is the third; for it, one that waits to be mended goes
	return k.Store.MakeRoom(v, releases(list), func(r disk.Release) bool { return keep[r.Digest()] })
}

// Prune deletes the releases that nothing needs any more.
func (k *Keeper) Prune() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.List()
	keep, wanted := k.keep(list, maxKept), k.wanted(list)
	return k.Store.Prune(releases(list), func(r disk.Release) bool {
		return keep[r.Digest()] || !r.Whole() && wanted[r.Digest()] // to be mended
	})
}

// keep chooses what stays: what runs, what the owner went back to, the newest good
// release, and then the newest others, up to max. A release that failed goes
// first; that it did is in the journal.
func (k *Keeper) keep(list []choice.Candidate, max int) map[names.Digest]bool {
	keep := map[names.Digest]bool{}
	stays := func(yes func(choice.Candidate) bool, most int) {
		for _, c := range list {
			if len(keep) < most && yes(c) {
				keep[c.Digest()] = true
			}
		}
	}
	pin := k.Store.Pin()
	stays(func(c choice.Candidate) bool {
		return c.Digest() == k.Running.Digest() || c.Digest() == pin.Release || c.Digest() == pin.Next
	}, len(list))
	if i := slices.IndexFunc(list, func(c choice.Candidate) bool { return c.Record.Good && c.Whole() }); i >= 0 {
		keep[list[i].Digest()] = true
	}
	stays(func(c choice.Candidate) bool { return c.Whole() && c.Record.State() != trial.Bad }, max)
	return keep
}

func releases(list []choice.Candidate) (plain []disk.Release) {
	for _, c := range list {
		plain = append(plain, c.Release)
	}
	return plain
}

// Check hashes what is in the store. What is damaged is deleted, said, and fetched
// again: by Mend, or when its release is offered.
func (k *Keeper) Check(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, err := k.Store.Check(ctx, releases(k.List()))
	for _, p := range found {
		slog.Warn(fmt.Sprintf("damaged in the store: %s", p))
	}
	return err
}

// payload is a release in the store, ready to be jumped into.
type payload struct {
	keeper  *Keeper
	release trust.Verified
	staging *kexec.Staging
}

// Load reads the release from the disk to where the kernel takes it from. It is
// hashed there, after it was read, and those very bytes are loaded.
func (p *payload) Load(ctx context.Context) error {
	options, err := p.keeper.Machine()
	if err != nil {
		return err
	}
	artifacts := p.release.Manifest().Artifacts
	files := kexec.Files{Verified: p.release, Open: func(name string) (*os.File, error) {
		return p.keeper.Store.Blob(artifacts[name].SHA256)
	}}
	if p.staging, err = files.Stage(ctx, options, func(int64) {}); err != nil {
		return err
	}
	err = p.staging.Load(ctx)
	if refusal.CodeOf(err) == refusal.Digest {
		// The disk gave other bytes back than it was given.
		err = errors.Join(err, p.keeper.Check(ctx))
	}
	return err
}

// Close frees what a load has taken.
func (p *payload) Close() error {
	if p.staging == nil {
		return nil
	}
	return p.staging.Close()
}
