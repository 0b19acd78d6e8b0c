package crashfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"phase/appliance/release/layout"
	"phase/appliance/release/store/disk"
	"phase/appliance/release/trust"
	"phase/tests/storetest"
)

// pieces is in how many writes an artifact is brought into the store.
const pieces = 3

// keepingReleases is the store of a node: releases come, the floor rises, a root
// follows, the owner pins one, and what is not needed goes.
func keepingReleases(t testing.TB) Scenario {
	signer := storetest.NewSigner(t)
	root := signer.Rotate(t).Root
	sizes := map[string]int{"kernel": 9_001, "initramfs": 701, "rootfs": 21_007}
	var releases []storetest.Release
	for version := range uint64(5) {
		releases = append(releases, signer.Release(t, "stable", "x86_64", version+1, sizes))
	}
	k := &keeper{signer: signer, next: root, releases: releases}
	return Scenario{
		Name: "release/store/disk",
		Run: func(dir string, promise func(string)) error {
			s, err := disk.Create(filepath.Join(dir, "store"))
			if err != nil {
				return err
			}
			for _, r := range releases[:3] {
				if err := k.keep(s, r); err != nil {
					return err
				}
				promise(fmt.Sprintf("has %d", r.Manifest().Version))
				if err := s.RaiseFloor(signer.Root, r.Verified); err != nil {
					return err
				}
				promise(fmt.Sprintf("floor %d", r.Manifest().Version))
			}
			if err := s.AddRoot(root); err != nil {
				return err
			}
			promise(fmt.Sprintf("root %d", root.Version()))
			if err := s.SetPin(disk.Pin{Release: releases[1].Digest(), Version: 2, By: "here", At: time.Unix(0, 0)}); err != nil {
				return err
			}
			promise("pin 2")
			list, _ := s.Releases(signer.Root, "x86_64")
			promise("forgets 1") // from here on it may go
			if err := s.Prune(list, func(r disk.Release) bool { return r.Manifest().Version > 1 }); err != nil {
				return err
			}
			if err := k.keep(s, releases[3]); err != nil {
				return err
			}
			promise("has 4")
			promise("forgets 4")
			if err := s.Damaged(releases[3].Manifest().Artifacts["kernel"].SHA256); err != nil {
				return err
			}
			return nil
		},
		Check: k.check,
	}
}

// keeper is a node with a store.
type keeper struct {
	signer   *storetest.Signer
	next     trust.Root // follows the signer's
	releases []storetest.Release
}

// keep brings a release into the store as a download does: piece by piece, and
// going on from what is there when that is right, as fetch does.
func (k *keeper) keep(s *disk.Store, r storetest.Release) error {
	d, err := s.Begin(r.Verified)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, name := range d.Missing() {
		data := r.Bytes[name]
		region, err := d.Region(name, int64(len(data)))
		if err != nil {
			return err
		}
		have := make([]byte, region.Have())
		if _, err := region.ReadAt(have, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		at := len(have)
		if string(have) != string(data[:at]) {
			at = 0
		}
		for step := len(data)/pieces + 1; at < len(data); at += step {
			if _, err := region.WriteAt(data[at:min(at+step, len(data))], int64(at)); err != nil {
				return err
			}
		}
	}
	return d.Commit()
}

// check opens what a power cut left: first as one who reads it and starts a
// release from it, then as the one who writes it and goes on.
func (k *keeper) check(dir string, promised []string) error {
	path := filepath.Join(dir, "store")
	s, err := disk.Open(path)
	if errors.Is(err, fs.ErrNotExist) && len(promised) == 0 {
		return k.goOn(path)
	}
	if err != nil {
		return err
	}
	list, problems := s.Releases(k.signer.Root, "x86_64")
	if len(problems) > 0 {
		return fmt.Errorf("problems: %v", problems)
	}
	if damaged, err := s.Check(context.Background(), list); len(damaged) > 0 || err != nil {
		return fmt.Errorf("damaged: %v, %w", damaged, err)
	}
	var has []int
	for _, r := range list {
		if r.Whole() {
			has = append(has, int(r.Manifest().Version))
		}
	}
	if err := k.kept(s, has, promised); err != nil {
		return err
	}
	return k.goOn(path)
}

// kept holds the store to its promises.
func (k *keeper) kept(s *disk.Store, has []int, promised []string) error {
	for _, p := range promised {
		what, number, _ := strings.Cut(p, " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		ok := true
		switch what {
		case "has":
			ok = slices.Contains(has, n) || slices.Contains(promised, "forgets "+number)
		case "floor":
			floor, found := s.Floor(k.signer.Root, "stable", "x86_64")
			ok = found && floor.Manifest().Version >= uint64(n)
		case "root":
			data, err := os.ReadFile(filepath.Join(s.Path(), layout.Root(uint64(n))))
			ok = err == nil && string(data) == string(k.next.Raw())
		case "pin":
			ok = s.Pin().Version == uint64(n)
		}
		if !ok {
			return fmt.Errorf("it has promised %q and has the releases %d", p, has)
		}
	}
	return nil
}

// goOn takes the releases that may have been on their way, with what is there of
// them, and one that is newer than all.
func (k *keeper) goOn(path string) error {
	s, err := disk.Create(path)
	if err != nil {
		return err
	}
	for _, r := range k.releases[2:] {
		if err := k.keep(s, r); err != nil {
			return fmt.Errorf("going on with version %d: %w", r.Manifest().Version, err)
		}
	}
	list, problems := s.Releases(k.signer.Root, "x86_64")
	whole := 0
	for _, r := range list {
		if r.Whole() {
			whole++
		}
	}
	if len(problems) > 0 || whole < len(k.releases[2:]) {
		return fmt.Errorf("going on: %d of %d releases are whole, problems %v", whole, len(list), problems)
	}
	if damaged, err := s.Check(context.Background(), list); len(damaged) > 0 || err != nil {
		return fmt.Errorf("going on: damaged %v, %w", damaged, err)
	}
	return nil
}
