package lab

import (
	"context"
	"path/filepath"

	"phase/appliance/base/names"
	"phase/qemu"
)

// Flags are those of every program that starts machines of one arch.
type Flags struct {
	Arch  string `default:"x86_64" help:"Arch of the machines: x86_64 or arm64."`
	Build string `default:"build" help:"Folder that make image filled."`
}

// The releases of an Upgrade.
const (
	OldVersion = 1
	NewVersion = 2
)

// Upgrade is what one node needs to go from one release to the next: a segment
// with a provider of the new release, and the old one, whose settings name that
// provider.
type Upgrade struct {
	Lab      *Lab
	Logs     string // folder of the consoles, and of the disks
	Segment  *qemu.Segment
	Provider *Provider
	Old      Release
}

// Upgrade sets up the lab in a folder of the build folder. The changes are made to both
// releases.
func (f Flags) Upgrade(ctx context.Context, folder string, changes ...Change) (u *Upgrade, err error) {
	arch, err := names.ParseArch(f.Arch)
	if err != nil {
		return nil, err
	}
	u = &Upgrade{Logs: filepath.Join(f.Build, folder)}
	defer func() {
		if err != nil {
			u.Close()
		}
	}()
	if u.Lab, err = Open(f.Build, filepath.Join(u.Logs, "disks"), arch); err != nil {
		return u, err
	}
	newer, err := u.Lab.Release(ctx, NewVersion, append(changes, NoDisk)...)
	if err != nil {
		return u, err
	}
	if u.Segment, err = qemu.NewSegment(); err != nil {
		return u, err
	}
	if u.Provider, err = Provide(ctx, u.Segment, newer); err != nil {
		return u, err
	}
	u.Old, err = u.Lab.Release(ctx, OldVersion, append(changes, Conf(u.Provider.Setting))...)
	return u, err
}

// Close ends the provider and the segment and removes the disks; the consoles
// stay.
func (u *Upgrade) Close() {
	if u.Provider != nil {
		_ = u.Provider.Close() // nothing of it is left to lose
	}
	if u.Segment != nil {
		_ = u.Segment.Close()
	}
	if u.Lab != nil {
		_ = u.Lab.Clean()
	}
}
