package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/machine/control"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/release/operator"
)

// fakeUpdater answers with a full report; asked for another node, it refuses with
// the code that the node is called by.
type fakeUpdater struct{}

func (fakeUpdater) Do(_ context.Context, on string, q operator.Question) (operator.Answer, error) {
	if on != "" {
		return operator.Answer{}, operator.Refusef(on, "refused")
	}
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	digest := "sha256:" + string(slices.Repeat([]byte("0"), 64))
	one := operator.Release{Version: 1, Digest: digest, State: "good", Running: true, Expires: at}
	r := operator.Report{
		Node: "12D3KooWnode", Clock: at, State: "looking", Running: &one, Releases: []operator.Release{one}, Root: operator.Root{Version: 1, Expires: at},
		Held: &operator.Pin{Version: 1, Digest: digest, By: "here", At: at}, Waiting: &statefile.Waiting{Version: 2, Digest: digest, Why: q.Do, Until: at},
		Taken: []operator.Taken{{Version: 1, Digest: digest, At: at, From: []operator.Source{{Provider: "http://a", Bytes: 7}}}},
	}
	a := operator.Answer{Did: strings.Join([]string{q.Do, q.Release, q.Disk, q.Erase}, " "), Report: r}
	if q.Do == operator.Disks {
		a.Disks = []flash.Candidate{{Device: "/dev/sda", Size: 1 << 30, Holds: []flash.Content{{Device: "/dev/sda1", Size: 1 << 20}}, Uses: []flash.Use{{Where: "/boot", Kind: "mount", Device: "/dev/sda1"}}}}
		a.Installed = &control.Installation{Disk: "/dev/sdb", Doing: "writing", Bytes: 1, Total: 2}
	}
	return a, nil
}

// TestUpdateAsk: what the client asks for arrives, and what is refused has its code.
func TestUpdateAsk(t *testing.T) {
	c, _ := node(t)
	c.Update = fakeUpdater{}
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	client := NewNodeClient(s.URL, token)
	u, err := client.Update(t.Context(), "", operator.Question{Do: operator.Apply, Release: "x"})
	if err != nil || u.Did != "apply x  " || u.Report.Running == nil || len(u.Report.Taken) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = client.Update(t.Context(), operator.NotAuthorized, operator.Question{Do: operator.Status})
	if r, ok := errors.AsType[*Refused](err); !ok || r.Code != operator.NotAuthorized || r.Status != 403 {
		t.Errorf("refused: %v", err)
	}
	if err := client.Undrain(t.Context()); err == nil {
		t.Error("jobs are drained over HTTP")
	}
}
