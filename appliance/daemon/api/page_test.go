package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"phase/appliance/base/problem"
)

// fakeEvents answers one status after the other.
type fakeEvents struct{ statuses []int }

func (f *fakeEvents) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status := f.statuses[0]
	f.statuses = f.statuses[1:]
	if status != http.StatusOK {
		w.Header().Set("Retry-After", "1")
		problem.Write(w, status, "no")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
}

var eventCalls = []call{
	{"events", "GET", "/v1/events", "", nil, token, 200},
	{"events, of another site", "GET", "/v1/events", "", nil, token, 403},
	{"events, too many", "GET", "/v1/events", "", nil, token, 503},
	{"events, of what", "GET", "/v1/events?token=x", "", nil, token, 400},
	{"events, no token", "GET", "/v1/events", "", nil, "", 401},
}

// TestNoPage: a daemon without a page says so.
func TestNoPage(t *testing.T) {
	c, _ := node(t)
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	if h.ServeHTTP(w, r); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "no page") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
