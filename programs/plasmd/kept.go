package plasmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/release/choice"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trial"
	"phase/appliance/release/trust"
)

// storeEvery is how often the store on the disk is looked at.
const storeEvery = 5 * time.Second

// keptReleases are the releases of a node's store that are served beside the one
// that runs: those that were good here. One that was not tried yet is handed on by
// nobody but who made it.
type keptReleases struct {
	path    string
	given   []trust.Root // the roots in the rootfs, at least one
	running names.Digest
	into    *store.Store
	seen    string                // what the store looked like
	served  map[names.Digest]bool // those of it that are in there
	mirror  *store.Folder         // beside it; nil until it is there
}

// follow serves what is in the store and in the mirror, as they change, until ctx
// ends.
func (k *keptReleases) follow(ctx context.Context, report func([]store.Problem)) {
	var inStore []store.Problem
	for {
		if now := k.stamp(); now != k.seen {
			inStore = k.update(ctx)
			if ctx.Err() != nil {
				return
			}
			k.seen = now
		}
		problems := append(slices.Clone(inStore), k.scanMirror(ctx)...)
		if ctx.Err() != nil {
			return
		}
		report(problems)
		select {
		case <-ctx.Done():
			return
		case <-time.After(storeEvery):
		}
	}
}

// scanMirror brings what is served up to date with the releases of other arches that
// update mirrors. This node boots none of them, so none is good here.
func (k *keptReleases) scanMirror(ctx context.Context) []store.Problem {
	if k.mirror == nil {
		dir, err := os.OpenRoot(filepath.Join(filepath.Dir(k.path), layout.MirrorFolder))
		if err != nil {
			return nil // nothing is mirrored, or nothing yet
		}
		k.mirror = store.NewFolder(k.into, dir, k.given...)
	}
	others := slices.DeleteFunc(slices.Clone(names.Arches), func(arch string) bool { return arch == names.RunningArch() })
	return k.mirror.Scan(ctx, names.Channels, others)
}

// stamp changes with what the store has and what is known of it.
func (k *keptReleases) stamp() (sum string) {
	for _, path := range []string{"releases", "blobs/sha256", "root", "../" + trial.File} {
		if info, err := os.Stat(filepath.Join(k.path, path)); err == nil {
			sum += fmt.Sprintln(path, info.ModTime().UnixNano())
		}
	}
	return sum
}

// update brings what is served up to date with the store.
func (k *keptReleases) update(ctx context.Context) (problems []store.Problem) {
	s, err := disk.Open(k.path)
	if err != nil {
		return nil // nothing is kept, or nothing yet
	}
	roots := walk.New(k.given[len(k.given)-1])
	if err := staging.Roots(s.Path(), roots); err != nil {
		problems = append(problems, store.Problem{Path: "root", Err: err})
	}
	for _, r := range roots.List() {
		k.into.AddRoot(r)
	}
	list, err := choice.Candidates(s, roots.Last(), names.RunningArch(), trial.InFolder(filepath.Dir(k.path), trial.Boot{Up: trial.Up}))
	if err != nil {
		problems = append(problems, store.Problem{Path: "store", Err: err})
	}
	there := map[names.Digest]bool{k.running: true}
	for _, c := range list {
		if c.Digest() == k.running || !c.Record.Good || !c.Whole() {
			continue
		}
		sources := map[string]store.Source{}
		for name, a := range c.Manifest().Artifacts {
			sources[name] = store.File(s.BlobPath(a.SHA256))
		}
		if err := k.into.Add(ctx, c.Verified, sources); err != nil {
			problems = append(problems, store.Problem{Path: fmt.Sprintf("version %d", c.Manifest().Version), Err: err})
			continue
		}
		there[c.Digest()], k.served[c.Digest()] = true, true
	}
	for d := range k.served {
		if !there[d] {
			k.into.Remove(d)
			delete(k.served, d)
		}
	}
	return problems
}
