package releases_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"phase/appliance/network/releases"
	"phase/appliance/release/fetch"
	"phase/appliance/release/record"
	"phase/appliance/release/survey"
	"phase/tests/peertest"
	"phase/tests/storetest"
)

// find waits for an announcement of that version by that peer.
func find(t *testing.T, by peertest.Node, f releases.Finder, from peertest.Node, version uint64) survey.Announcement {
	t.Helper()
	f.Releases = by.Releases
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := f.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for a := range found {
		if a.Peer == from.Host().ID().String() && a.Version == version {
			cancel()
			return a
		}
	}
	t.Fatalf("version %d was not found", version)
	return survey.Announcement{}
}

var stable = releases.Finder{Channel: "stable", Arch: "x86_64"}

// A release is found through the DHT by a node that knows another node, and
// downloaded over a stream, since there is no HTTP; and a new root comes with it.
func TestFoundAndFetchedOverAStream(t *testing.T) {
	one := storetest.NewSigner(t)
	two := one.Rotate(t)
	release := two.Release(t, "stable", "x86_64", 7, storetest.Sizes)
	between := peertest.Start(t, peertest.Config{Roots: storetest.NewSigner(t).Chain}) // of another fleet
	holder := peertest.Start(t, peertest.Config{Roots: two.Chain, Held: []storetest.Release{release}, Known: []peertest.Node{between}})
	looker := peertest.Start(t, peertest.Config{Roots: one.Chain, Known: []peertest.Node{between}})
	a := find(t, looker, stable, holder, 7)
	if want := []string{releases.StreamURL(holder.Host().ID().String())}; !slices.Equal(a.URLs, want) {
		t.Errorf("URLs %q, want %q", a.URLs, want)
	}
	if id, ok := releases.StreamPeer(a.URLs[0]); !ok || id != a.Peer {
		t.Errorf("the URL is of peer %q", id)
	}
	client := fetch.NewClient(looker.Way())
	defer client.CloseIdleConnections()
	envelope, err := fetch.Manifest(t.Context(), client, a.URLs[0], "stable", "x86_64")
	if err != nil || !bytes.Equal(envelope, release.Envelope()) {
		t.Fatalf("the manifest over a stream: %v", err)
	}
	into := memory{}
	if _, err := fetch.Release(t.Context(), release.Verified, a.URLs, into, fetch.Options{Ways: []fetch.Way{looker.Way()}}); err != nil {
		t.Fatal(err)
	}
	for name, data := range release.Bytes {
		if !bytes.Equal(into[name].data, data) {
			t.Errorf("%s came over the stream as something else", name)
		}
	}
}

// Where HTTP answers at the address that the peer is connected from, it comes
// before the stream; a port where nothing answers is left out.
func TestHTTPFirst(t *testing.T) {
	signer := storetest.NewSigner(t)
	server := httptest.NewServer(nil)
	defer server.Close()
	u, _ := url.Parse(server.URL)
	at, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	holder := peertest.Start(t, peertest.Config{Roots: signer.Chain, Ports: []uint16{1, at.Port()}, Still: true,
		Held: []storetest.Release{signer.Release(t, "stable", "x86_64", 3, storetest.Sizes)}})
	looker := peertest.Start(t, peertest.Config{Roots: signer.Chain, Known: []peertest.Node{holder}})
	// Nothing was published: a peer that is connected is asked itself.
	a := find(t, looker, releases.Finder{}, holder, 3)
	if want := []string{server.URL, releases.StreamURL(a.Peer)}; !slices.Equal(a.URLs, want) || a.Source != "127.0.0.1" || a.Channel != "stable" || a.Arch != "x86_64" {
		t.Errorf("announced %+v, want URLs %q", a, want)
	}
}

// What a peer answers counts only when our own roots vouch for it.
func TestOtherFleetsAreNotAnnounced(t *testing.T) {
	ours, theirs := storetest.NewSigner(t), storetest.NewSigner(t)
	// This one says it trusts our roots, and answers with what it signed itself.
	liar := peertest.Start(t, peertest.Config{Roots: theirs.Chain, Held: []storetest.Release{theirs.Release(t, "stable", "x86_64", 99, storetest.Sizes)}})
	forged, err := record.Make(theirs.Chain, theirs.Release(t, "stable", "x86_64", 99, storetest.Sizes).Envelope(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 16)
	liar.Host().SetStreamHandler(releases.ManifestProtocol, func(s network.Stream) {
		_, _ = io.Copy(io.Discard, s)
		header := `{"size":` + strconv.Itoa(len(forged.Value())) + `}`
		_, _ = s.Write(append(append(binary.BigEndian.AppendUint32(nil, uint32(len(header))), header...), forged.Value()...))
		_ = s.Close()
		asked <- struct{}{}
	})
	honest := peertest.Start(t, peertest.Config{Roots: ours.Chain, Held: []storetest.Release{ours.Release(t, "stable", "x86_64", 4, storetest.Sizes)}, Known: []peertest.Node{liar}})
	looker := peertest.Start(t, peertest.Config{Roots: ours.Chain, Known: []peertest.Node{liar, honest}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found, err := releases.Finder{Releases: looker.Releases, Channel: "stable", Arch: "x86_64"}.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	honestFound, liarAsked := false, false
	for !honestFound || !liarAsked {
		select {
		case a, ok := <-found:
			if !ok {
				t.Fatal("it ended")
			}
			if a.Peer == liar.Host().ID().String() {
				t.Fatalf("announced %+v", a)
			}
			honestFound = true
		case <-asked:
			liarAsked = true
		}
	}
}

// A node answers questions of the wire, and refuses what is none.
func TestWire(t *testing.T) {
	signer := storetest.NewSigner(t)
	holder := peertest.Start(t, peertest.Config{Roots: signer.Chain, Ports: []uint16{8080}, Held: []storetest.Release{signer.Release(t, "stable", "x86_64", 3, storetest.Sizes)}})
	looker := peertest.Start(t, peertest.Config{Roots: signer.Chain, Known: []peertest.Node{holder}})
	find(t, looker, stable, holder, 3) // they are connected
	fleet := signer.Chain.Fleet()
	for question, want := range map[string]string{
		`{"fleet":"` + fleet + `","channel":"stable","arch":"x86_64"}`:            `"http_ports":[8080]`,
		`{"fleet":"` + fleet + `","channel":"nightly","arch":"x86_64"}`:           `"code":"NotFound"`,
		`{"fleet":"` + fleet + `","channel":"stable","arch":"amd64"}`:             `"code":"InvalidRequest"`,
		`{"fleet":"../../etc","channel":"stable","arch":"x86_64"}`:                `"code":"InvalidRequest"`,
		`{"fleet":"` + fleet + `","channel":"stable","arch":"x86_64","Arch":"x"}`: "",
		`{`: "",
	} {
		s, err := looker.Host().NewStream(t.Context(), holder.Host().ID(), releases.ManifestProtocol)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(question))), question...)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if (err == nil) != (want != "") || !strings.Contains(string(got), want) {
			t.Errorf("%s: %.120q, %v; want %s", question, got, err, want)
		}
	}
	// A length without its header, and one that is too large.
	for _, length := range []uint32{1 << 16, 1<<16 + 1, 1 << 31} {
		s, err := looker.Host().NewStream(t.Context(), holder.Host().ID(), releases.ManifestProtocol)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := s.Write(binary.BigEndian.AppendUint32(nil, length)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(s); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a header of %d bytes that does not come: %q, %v; want a reset", length, got, err)
		}
	}
}
