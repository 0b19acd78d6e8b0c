package api

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// The token goes to the node it is for and to nobody it names.
func TestNodeClientIsNotSentElsewhere(t *testing.T) {
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer elsewhere.Close()
	got := ""
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer node.Close()
	_, err := NewNodeClient(node.URL+"/", token).Node(t.Context())
	if err == nil || !strings.Contains(err.Error(), "307") || reached || got != "Bearer "+token {
		t.Errorf("%v; elsewhere was asked: %v; the node got %q", err, reached, got)
	}
}

func TestNoDaemonIsSaidPlainly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	_, err := NewClient(path).Node(t.Context())
	if want := "asking the daemon: " + path + ": " + ErrNoDaemon.Error(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
