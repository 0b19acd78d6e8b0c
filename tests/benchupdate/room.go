package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"phase/appliance/base/names"
	"phase/appliance/base/tool"
	"phase/appliance/base/ui"
	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/gpt"
	"phase/tests/lab"
)

// room is what a store of three releases takes.
type room struct {
	Releases int   `json:"releases"`
	Distinct int64 `json:"distinct_bytes"` // of their artifacts, each counted once
	Used     int64 `json:"used_bytes"`     // of the persistent partition, more than before the first
}

// measureRoom lets one node take three releases, the last two of which have a rootfs of
// their own each.
func (b *bench) measureRoom(ctx context.Context) (r room, err error) {
	before, err := b.used(ctx, b.stick)
	if err != nil {
		return r, err
	}
	rootfs, err := os.ReadFile(b.Old.File("rootfs"))
	if err != nil {
		return r, err
	}
	if err := b.conf(ctx, b.Provider.Setting); err != nil {
		return r, err
	}
	n, err := b.start(ctx, "room")
	if err != nil {
		return r, err
	}
	defer n.Close()
	sizes := map[names.Digest]int64{}
	for version := uint64(lab.NewVersion); r.Releases < 3; version++ {
		release := b.Old // of which the first newer one has the artifacts
		if version > lab.NewVersion {
			// A squashfs says how long it is; what follows is of no account.
			if release, err = b.Lab.Altered(b.Old, version, "rootfs", append(bytes.Clone(rootfs), bytes.Repeat([]byte{byte(version)}, 4096)...)); err != nil {
				return r, err
			}
			if err := b.switchOff(ctx, n); err != nil {
				return r, err
			}
			if err := b.Provider.Add(ctx, release); err != nil {
				return r, err
			}
			if err := n.PowerOn(ctx); err != nil {
				return r, err
			}
		}
		for _, a := range release.Manifest.Artifacts {
			sizes[a.SHA256] = a.Size
		}
		if err := b.took(ctx, n, version); err != nil {
			return r, err
		}
		r.Releases++
	}
	for _, size := range sizes {
		r.Distinct += size
	}
	if err := b.switchOff(ctx, n); err != nil {
		return r, err
	}
	after := filepath.Join(b.Lab.Dir, "full.img")
	if err := b.flatten(ctx, after); err != nil {
		return r, err
	}
	r.Used, err = b.used(ctx, after)
	r.Used -= before
	return r, err
}

// took waits until a node has taken a release, and it is good.
func (b *bench) took(ctx context.Context, n *lab.Node, version uint64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	jump, _, err := n.Jumped(ctx, lab.Begin, version)
	if err != nil {
		return err
	}
	_, _, err = n.Line(ctx, jump, lineGood)
	return err
}

var figures = regexp.MustCompile(`(?s)Block count: +(\d+).*Free blocks: +(\d+).*Block size: +(\d+)`)

// used is how many bytes of the persistent partition of a disk are in use.
func (b *bench) used(ctx context.Context, image string) (int64, error) {
	f, err := os.Open(image)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	table, _, err := gpt.Read(f)
	if err != nil {
		return 0, err
	}
	perm, err := table.Partition(disk.Perm)
	if err != nil {
		return 0, err
	}
	said, err := tool.Command{Name: "dumpe2fs", Args: []string{"-h", fmt.Sprintf("%s?offset=%d", image, perm.Start)}}.Run(ctx)
	if err != nil {
		return 0, err
	}
	m := figures.FindSubmatch(said)
	if m == nil {
		return 0, fmt.Errorf("dumpe2fs does not say how many blocks of %s are in use", image)
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(string(m[1+i]), 10, 64) // digits
	}
	return (n[0] - n[1]) * n[2], nil
}

func (r room) String() string {
	return fmt.Sprintf("a store of %s takes %s on the disk, %.2f of the %s of their artifacts (aim ≤ 1.10)",
		ui.Count(r.Releases, "release"), ui.Bytes(r.Used), float64(r.Used)/float64(r.Distinct), ui.Bytes(r.Distinct))
}
