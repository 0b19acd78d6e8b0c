package plasmd

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"phase/appliance/base/program"
)

// lineWriter calls f with each thing that is written.
type lineWriter func(string)

func (f lineWriter) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

// To follow ends well when it is stopped, and not when the daemon is.
func TestFollow(t *testing.T) {
	p := daemon(t, t.TempDir())
	for _, json := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		var got strings.Builder
		c := logsCmd{owning: owning{asking: asking{Socket: p.socket}}, Lines: 100, Follow: true, JSON: json}
		err := c.run(ctx, lineWriter(func(line string) {
			if got.WriteString(line); strings.Contains(line, "listening on ") {
				stop()
			}
		}))
		if err != nil || strings.HasPrefix(got.String(), "{") != json || !strings.Contains(got.String(), "peer 12D3KooW") {
			t.Errorf("%v: %s", err, got.String())
		}
		stop()
	}
	stopped := false
	c := logsCmd{owning: owning{asking: asking{Socket: p.socket}}, Lines: 1, Follow: true}
	err := c.run(t.Context(), lineWriter(func(string) {
		if !stopped {
			stopped = true
			p.terminate(t)
		}
	}))
	if err == nil || !strings.Contains(err.Error(), "the daemon was stopped") {
		t.Errorf("the daemon ended: %v", err)
	}
	p.wait(t)
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"":                          {},
		"10m":                       now.Add(-10 * time.Minute),
		"2026-11-30T11:00:00Z":      time.Date(2026, 11, 30, 11, 0, 0, 0, time.UTC),
		"2026-11-30T11:00:00+01:00": time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC),
		"2026-11-30 11:00:00":       now.Add(-time.Hour),
		"2026-11-30":                now.Add(-12 * time.Hour),
	} {
		if got, err := since(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-5m", "11:00", "2026-13-01"} {
		_, err := since(text, now)
		if code, _ := program.Code(err); code != 2 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A daemon sends its log to the server that it is given, to the last line.
func TestSyslog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := daemon(t, t.TempDir(), "--syslog", "tcp://"+l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.terminate(t)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	p.wait(t)
	for _, want := range []string{" plasmd - - - peer 12D3KooW", " plasmd - - - listening on ", "<30>1 20"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}
