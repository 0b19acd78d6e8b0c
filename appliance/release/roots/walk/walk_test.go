package walk_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"phase/appliance/base/refusal"
	"phase/appliance/release/fetch"
	"phase/appliance/release/provide"
	"phase/appliance/release/roots/walk"
	"phase/appliance/release/store"
	"phase/tests/storetest"
)

// provider serves a release and the roots that lead to its signer.
func provider(t *testing.T, s *storetest.Signer, version uint64) (url string, envelope []byte) {
	t.Helper()
	held, r := store.New(), s.Release(t, "stable", "x86_64", version, storetest.Sizes)
	for _, root := range s.Chain.Roots() {
		held.AddRoot(root)
	}
	if err := held.Add(t.Context(), r.Verified, r.Sources()); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(provide.Handler(provide.Config{Store: held}))
	t.Cleanup(server.Close)
	return server.URL, r.Envelope()
}

// One who trusts the first root comes to the third, and judges by that alone.
func TestWalk(t *testing.T) {
	one := storetest.NewSigner(t)
	three := one.Rotate(t).Rotate(t)
	client := fetch.NewClient()
	known := walk.New(one.Root)
	old, _ := provider(t, one, 1)
	if _, err := known.Manifest(t.Context(), client, old, "stable", "x86_64"); err != nil || known.Last().Version() != 1 {
		t.Fatalf("from one that has no other root: version %d, %v", known.Last().Version(), err)
	}
	url, want := provider(t, three, 2)
	got, err := known.Manifest(t.Context(), client, url, "stable", "x86_64")
	if err != nil || !bytes.Equal(got, want) || len(known.List()) != 3 {
		t.Fatalf("%d roots, %v", len(known.List()), err)
	}
	if _, err := known.Last().VerifyHeld(got, "stable", "x86_64"); err != nil {
		t.Error(err)
	}
	if err := known.Add(three.Chain.Roots()[1].Raw()); err != nil {
		t.Errorf("a root that is known: %v", err)
	}
}

// Roots that do not follow are taken by nobody, and are the reason only where
// nothing known vouches for the release.
func TestRefused(t *testing.T) {
	one, stranger := storetest.NewSigner(t), storetest.NewSigner(t).Rotate(t)
	client := fetch.NewClient()
	known := walk.New(one.Root)
	url, _ := provider(t, stranger, 99)
	if _, err := known.Manifest(t.Context(), client, url, "stable", "x86_64"); refusal.CodeOf(err) != refusal.Signature {
		t.Errorf("a stranger's roots: %v", err)
	}
	anything := func(data []byte) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
		t.Cleanup(server.Close)
		return server.URL
	}
	good := one.Release(t, "stable", "x86_64", 2, storetest.Sizes).Envelope()
	if got, err := known.Manifest(t.Context(), client, anything(good), "stable", "x86_64"); err != nil || !bytes.Equal(got, good) {
		t.Errorf("a server that answers everything with a good manifest: %v", err)
	}
	if _, err := known.Manifest(t.Context(), client, anything([]byte("<html>")), "stable", "x86_64"); refusal.CodeOf(err) != refusal.Format {
		t.Errorf("a server that answers nonsense: %v", err)
	}
	if _, err := known.Manifest(t.Context(), client, "http://127.0.0.1:1", "stable", "x86_64"); refusal.CodeOf(err) != refusal.Unreachable {
		t.Errorf("nobody: %v", err)
	}
	if known.Last().Version() != 1 {
		t.Errorf("version %d is trusted", known.Last().Version())
	}
	two, other := one.Rotate(t), one.Rotate(t)
	if err := known.Add(two.Root.Raw()); err != nil {
		t.Fatal(err)
	}
	if err := known.Add(other.Root.Raw()); refusal.CodeOf(err) != refusal.Equivocation {
		t.Errorf("another root of a version that is known: %v", err)
	}
}
