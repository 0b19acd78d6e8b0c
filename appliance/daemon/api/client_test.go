package api

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
	"phase/appliance/compute/scheduler"
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

// A node that sends more than the job may write is not listened to on and on.
func TestOutputOfANodeIsBounded(t *testing.T) {
	small := job.Default(empty)
	most := int64(100)
	small.OutputBytes = &most
	spec, err := job.New(small)
	if err != nil {
		t.Fatal(err)
	}
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", streamType)
		for sent := 0; sent < 1000; sent++ {
			name := []string{"stdout", "stderr"}[sent%2]
			if _, err := fmt.Fprintf(w, "{\"event\":%q,\"data\":%q}\n", name, base64.StdEncoding.EncodeToString(make([]byte, 40))); err != nil {
				return
			}
		}
	}))
	defer node.Close()
	var stdout, stderr bytes.Buffer
	offer := scheduler.Offer{Spec: spec, Module: modulecache.NewModule(empty), Nonce: scheduler.NewNonce(), Stdout: &stdout, Stderr: &stderr}
	_, err = NewNodeClient(node.URL, token).Execute(t.Context(), offer)
	if err == nil || !strings.Contains(err.Error(), "more output") || stdout.Len()+stderr.Len() > 100 {
		t.Errorf("%v, after %d bytes", err, stdout.Len()+stderr.Len())
	}
}

func TestNoDaemonIsSaidPlainly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.sock")
	_, err := NewClient(path).Node(t.Context())
	if want := "asking the daemon: " + path + ": " + ErrNoDaemon.Error(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
