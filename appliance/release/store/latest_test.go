package store_test

import (
	"testing"

	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// Of each channel and arch, the newest alone.
func TestLatest(t *testing.T) {
	signer, s := storetest.NewSigner(t), store.New()
	for version, channel := range map[uint64]string{7: "stable", 8: "testing", 9: "stable"} {
		r := signer.Release(t, channel, "x86_64", version, storetest.Sizes)
		if err := s.Add(t.Context(), r.Verified, r.Sources()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]uint64{}
	for _, r := range s.Latest() {
		got[r.Manifest().Channel] = r.Manifest().Version
	}
	if len(s.Releases()) != 3 || len(s.Latest()) != 2 || got["stable"] != 9 || got["testing"] != 8 {
		t.Errorf("of %d releases, the latest are %v", len(s.Releases()), got)
	}
}
