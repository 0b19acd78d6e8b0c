package plasmd

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"phase/appliance/compute/history"
)

// A history that is damaged is set aside under a dated name; the console and
// /status say so, and the daemon computes with a new one.
func TestDamagedHistoryIsSetAside(t *testing.T) {
	dir := t.TempDir()
	p := daemon(t, dir)
	if _, err := p.client.Execute(t.Context(), smallOffer(t, leastModule)); err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	path := filepath.Join(dir, "data", history.File)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[2*os.Getpagesize():]) // all but the headers
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p = daemon(t, dir)
	p.said.wait(t, `^problem: .*damaged.*kept as .*\.damaged-[0-9TZ]+$`)
	says := regexp.MustCompile(`the history is damaged.*history\.db\.damaged-`)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
	}}}
	resp, err := client.Get("http://plasmd/status")
	if err != nil {
		t.Fatal(err)
	}
	status, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !says.Match(status) {
		t.Errorf("/status says %s, %v", status, err)
	}
	if aside, err := filepath.Glob(path + ".damaged-*"); err != nil || len(aside) != 1 {
		t.Errorf("set aside are %q, %v", aside, err)
	}
	page, err := p.client.Jobs(t.Context(), "", 10)
	if err != nil || len(page.Jobs) != 0 {
		t.Errorf("the new history has %+v, %v", page.Jobs, err)
	}
	if _, err := p.client.Execute(t.Context(), smallOffer(t, leastModule)); err != nil {
		t.Error(err)
	}
	p.stop(t)
}
