package fetch

import (
	"testing"

	"phase/tests/storetest"
)

// One who has the first root takes a release under the second when a provider
// hands on both, keeps both in the folder, and takes nothing more of a key that
// the second root took back, also where only the folder knows of it.
func TestRotated(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	next := two.Release(t, "stable", "arm64", 7, storetest.Sizes)
	thief, _ := serve(t, one, one.Release(t, "stable", "arm64", 99, storetest.Sizes))
	honest, _ := serve(t, two, next)
	root, dir := writeRoot(t, one), t.TempDir()
	a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", thief, "-p", honest)
	if err != nil || a.Version != 7 {
		t.Fatalf("%+v, %v", a, err)
	}
	checkFolder(t, dir, one, next)
	if a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", thief); err == nil || a.Code != "signature" {
		t.Errorf("from the thief alone: %+v, %v", a, err)
	}
}

// A release of the highest version, signed by a stolen key, is a floor no more
// once a provider hands on the root that took the key back.
func TestFloorFalls(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	next := two.Release(t, "stable", "arm64", 7, storetest.Sizes)
	thief, _ := serve(t, one, one.Release(t, "stable", "arm64", 99, storetest.Sizes))
	late, _ := serve(t, one, one.Release(t, "stable", "arm64", 98, storetest.Sizes))
	honest, _ := serve(t, two, next)
	root, dir := writeRoot(t, one), t.TempDir()
	if a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", thief); err != nil || a.Version != 99 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", late); err == nil || a.Code != "rollback" {
		t.Errorf("below the floor: %+v, %v", a, err)
	}
	a, err := fetched(t, "--root", root, "-A", "arm64", "-o", dir, "-p", honest)
	if err != nil || a.Version != 7 {
		t.Fatalf("%+v, %v", a, err)
	}
	checkFolder(t, dir, one, next)
}
