package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"phase/appliance/daemon/journal"
)

// logServer is a node, and a client that has its token.
func logServer(t *testing.T) (Config, *Client, *httptest.Server) {
	t.Helper()
	c, _ := node(t)
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return c, NewNodeClient(s.URL, token), s
}

// Who follows gets the last lines, and then those that come, of the service that was
// asked for; the end of the daemon is the end.
func TestFollowLogs(t *testing.T) {
	c, client, _ := logServer(t)
	add := func(service string, n int) {
		c.Log.Add(journal.Line{Time: time.Unix(int64(n), 0), Service: service, Level: journal.Info, Text: fmt.Sprint(n)})
	}
	for n := range 5 {
		add([]string{"update", "net"}[n%2], n)
	}
	var got []string
	err := client.FollowLogs(t.Context(), LogQuery{Lines: 2, Service: "update"}, func(l journal.Line) error {
		got = append(got, l.Text)
		switch len(got) {
		case 2: // the last that there were: more than one answer takes at once comes now
			for n := range 2 * batch {
				add("net", n)
			}
			add("update", 7)
		case 3:
			c.Log.End()
		}
		return nil
	})
	if s := strings.Join(got, " "); s != "2 4 7" || err == nil || !strings.Contains(err.Error(), "the daemon was stopped") {
		t.Errorf("got %s, %v", s, err)
	}
}

// Nobody else reads the log, or has a bundle made.
func TestLogIsForTheOwner(t *testing.T) {
	c, _, s := logServer(t)
	fmt.Fprintln(c.Log, "a line for the owner")
	stranger := NewNodeClient(s.URL, strings.Repeat("0", len(token)))
	_, err1 := stranger.Logs(t.Context(), LogQuery{})
	err2 := stranger.FollowLogs(t.Context(), LogQuery{}, func(l journal.Line) error { return errors.New(l.Text) })
	err3 := stranger.Support(t.Context(), io.Discard)
	for i, err := range []error{err1, err2, err3} {
		var refused *Refused
		if !errors.As(err, &refused) || refused.Status != 401 {
			t.Errorf("question %d: %v", i, err)
		}
	}
}

// A reader that leaves makes room for another.
func TestReadersLeave(t *testing.T) {
	c, client, _ := logServer(t)
	fmt.Fprintln(c.Log, "a line")
	enough := errors.New("enough")
	for range 2 * journal.MaxReaders {
		err := client.FollowLogs(t.Context(), LogQuery{}, func(journal.Line) error { return enough })
		var refused *Refused
		if errors.As(err, &refused) && refused.Status == 503 {
			continue // the last one has not been seen to leave yet
		}
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
	}
}

// A bundle that cannot be made whole is no bundle.
func TestSupport(t *testing.T) {
	c, client, _ := logServer(t)
	var refused *Refused
	if err := client.Support(t.Context(), io.Discard); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("none: %v", err)
	}
	begun, fail := make(chan struct{}), make(chan error)
	c.Support = func(_ context.Context, w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		begun <- struct{}{}
		return <-fail
	}
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	defer s.Close()
	client = NewNodeClient(s.URL, token)
	first := make(chan error, 1)
	go func() { first <- client.Support(t.Context(), io.Discard) }()
	<-begun
	if err := client.Support(t.Context(), io.Discard); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("a second one: %v", err)
	}
	fail <- errors.New("the disk is gone")
	if err := <-first; err == nil {
		t.Error("half a bundle was taken for one")
	}
}
