package update

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"phase/appliance/base/names"
	"phase/appliance/daemon/finder"
	"phase/appliance/machine/settings"
	"phase/appliance/release/fetch"
	"phase/appliance/release/layout"
	"phase/appliance/release/layout/staging"
	"phase/appliance/release/mirror"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/survey"
)

// mirrors says whether this node has a release of another arch to keep: the setting
// asks for one, and there is a disk.
func (n *node) mirrors() bool {
	return n != nil && len(n.options.Mirror) > 0 && n.options.Update && n.options.Mode != settings.Private && n.kept != nil
}

// mirrorFolder is beside the store.
func (c commandLine) mirrorFolder() string {
	return filepath.Join(filepath.Dir(c.Store), layout.MirrorFolder)
}

// startMirrors keeps the newest releases of other arches on the disk, for plasmd to
// serve, until ctx ends. What is mirrored no more is deleted.
func (n *node) startMirrors(ctx context.Context) {
	dir := n.mirrorFolder()
	if n.kept != nil {
		n.deleteOthers(dir)
	}
	if !n.mirrors() {
		if len(n.options.Mirror) > 0 {
			slog.Warn("phase.mirror: nothing is mirrored: it takes a disk, phase.update=on and a mode other than private")
		}
		return
	}
	own := n.running.Manifest()
	known := walk.New(n.roots.List()[0], n.roots.List()[1:]...)
	if err := staging.Roots(dir, known); err != nil {
		slog.Warn(fmt.Sprintf("%v; the chain of roots ends there", err))
	}
	// A newer release of this node's own comes first.
	spare := int64(disk.Reserve)
	for _, a := range own.Artifacts {
		spare += a.Size
	}
	for _, arch := range n.options.Mirror {
		if arch == own.Arch {
			continue // kept already
		}
		client := fetch.NewClient(finder.Way(n.Socket))
		m := mirror.Mirror{
			Dir: dir, Channel: n.options.Channel, Arch: arch, Roots: known, Free: n.kept.Store.Free, Spare: spare, Now: n.now,
			Fetch: fetch.Options{Ways: []fetch.Way{finder.Way(n.Socket)}},
			Survey: &survey.Survey{
				Finders: finders(n.options.Mode, n.Socket, n.options.Channel, arch), Named: n.options.Provider,
				Get: func(ctx context.Context, url, channel, arch string) ([]byte, error) {
					return known.Manifest(ctx, client, url, channel, arch)
				},
			},
		}
		slog.Info(fmt.Sprintf("mirroring the newest release of %s", layout.Release(m.Channel, arch)))
		go func() {
			if err := m.Run(ctx); err != nil && ctx.Err() == nil {
				slog.Warn(fmt.Sprintf("mirroring %s ended: %v", layout.Release(m.Channel, arch), err))
			}
		}()
	}
}

// deleteOthers deletes what the folder has of release lines that are not mirrored.
func (n *node) deleteOthers(dir string) {
	for _, channel := range names.Channels {
		for _, arch := range names.Arches {
			if n.mirrors() && channel == n.options.Channel && slices.Contains(n.options.Mirror, arch) {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, layout.Release(channel, arch))); err != nil {
				slog.Warn(fmt.Sprintf("deleting what was mirrored: %v", err))
			}
		}
	}
}
