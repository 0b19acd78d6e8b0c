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
