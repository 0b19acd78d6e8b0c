package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/receipt"
	"phase/appliance/compute/scheduler"
)

// ask posts a form for a streamed answer.
func ask(ctx context.Context, t *testing.T, s *httptest.Server, kind string, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/jobs", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json;q=0.1, application/x-ndjson")
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// lines are the events of a whole answer.
func lines(t *testing.T, s *httptest.Server, kind string, body io.Reader) (list [][]byte) {
	t.Helper()
	resp := ask(t.Context(), t, s, kind, body)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// loop is a module that never ends: a loop that begins itself again.
var loop = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")

// endless begins a job that does not end by itself, and returns its run and
// what waits for its end.
func endless(t *testing.T, s *httptest.Server) (runID string, end func() event) {
	t.Helper()
	kind, body := form(t, part{"module", loop})
	events := bufio.NewScanner(ask(t.Context(), t, s, kind, body).Body)
	var e event
	next := func(want string) event {
		for events.Scan() {
			e = event{}
			if err := json.Unmarshal(events.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			if e.RunID != "" {
				runID = e.RunID
			}
			if e.Event == want {
				return e
			}
		}
		t.Fatalf("the answer ended before %q: %+v, %v", want, e, events.Err())
		return e
	}
	next("running")
	return runID, func() event {
		last := next("done")
		for events.Scan() {
		}
		return last // and its place is free again
	}
}

// Input that is sent while the module runs reaches it before the rest is sent,
// and the receipt is of all of it.
func TestStreamingBothWays(t *testing.T) {
	s, id := server(t)
	module := catModule(t)
	body, to := io.Pipe()
	w := multipart.NewWriter(to)
	written := make(chan error, 1)
	var stdin io.Writer
	go func() {
		m, err := w.CreateFormFile("module", "module")
		if err == nil {
			_, err = m.Write(module)
		}
		if err == nil {
			stdin, err = w.CreateFormFile("stdin", "stdin")
		}
		if err == nil {
			_, err = io.WriteString(stdin, "first ")
		}
		written <- err
	}()
	resp := ask(t.Context(), t, s, w.FormDataContentType(), body)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	events := bufio.NewScanner(resp.Body)
	events.Buffer(nil, 1<<20)
	var out bytes.Buffer
	var done event
	for sent := false; events.Scan(); {
		var e event
		if err := json.Unmarshal(events.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		out.Write(e.Data)
		if !sent && out.String() == "first " {
			sent = true // the first came back while the second had not been sent
			if _, err := io.WriteString(stdin, "second"); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.Close(), to.Close()); err != nil {
				t.Fatal(err)
			}
		}
		done = e
	}
	if done.Event != "done" || out.String() != "first second" {
		t.Fatalf("%+v, output %q, %v", done, out.String(), events.Err())
	}
	st, err := receipt.Verify(done.Receipt, receipt.Pin{PeerID: id.PeerID(), Key: id.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.CheckStdout(sha256.Sum256([]byte("first second"))); err != nil {
		t.Error(err)
	}
	if got, want := st.Predicate.StdinSHA256, strings.TrimPrefix(job.Hash([]byte("first second")), "sha256:"); got != want {
		t.Errorf("stdin_sha256 %s, want %s", got, want)
	}
}

// catModule copies its input as it reads it.
func catModule(t *testing.T) []byte {
	t.Helper()
	module, err := build("phase/tests/guests/cat")
	if err != nil {
		t.Fatalf("%v: %s", err, module)
	}
	return module
}

// A streamed input that the module does not read is part of the receipt, too.
func TestInputThatIsNotRead(t *testing.T) {
	s, id := server(t)
	stdin := bytes.Repeat([]byte("x"), 1<<20)
	kind, body := form(t, part{"module", empty}, part{"stdin", stdin})
	list := lines(t, s, kind, body)
	var done event
	if err := json.Unmarshal(list[len(list)-1], &done); err != nil || done.Event != "done" {
		t.Fatalf("%s, %v", list[len(list)-1], err)
	}
	st, err := receipt.Verify(done.Receipt, receipt.Pin{PeerID: id.PeerID(), Key: id.Public()})
	if err != nil || "sha256:"+st.Predicate.StdinSHA256 != job.Hash(stdin) {
		t.Errorf("%+v, %v", st.Predicate, err)
	}
}

// A connection over which a job was streamed is good for the next one.
func TestConnectionsAreUsedAgain(t *testing.T) {
	s, _ := server(t)
	reused := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Reused {
			reused++
		}
	}})
	// Go's client gives a connection up where it was not let run for 50 ms after
	// the last byte was sent, which a busy machine may do to it now and then.
	for tries := 0; reused < 4 && tries < 50; tries++ {
		kind, body := form(t, part{"module", empty}, part{"stdin", []byte("abc")})
		// Without its length, the body is sent in chunks.
		resp := ask(ctx, t, s, kind, struct{ io.Reader }{body})
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if reused < 4 {
		t.Errorf("of 50 connections %d were used again", reused)
	}
}

func TestStreamedInputMustBeLast(t *testing.T) {
	s, _ := server(t)
	kind, body := form(t, part{"module", empty}, part{"stdin", []byte("x")}, part{"offer_nonce", []byte(scheduler.NewNonce())})
	list := lines(t, s, kind, body)
	if last := string(list[len(list)-1]); !strings.Contains(last, `"event":"error"`) && !strings.Contains(last, "last part") {
		t.Errorf("it ends with %s", last)
	}
}

// A requester that leaves ends its job.
func TestLeavingCancels(t *testing.T) {
	c, _ := node(t)
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	ctx, leave := context.WithCancel(t.Context())
	kind, body := form(t, part{"module", loop})
	events := bufio.NewScanner(ask(ctx, t, s, kind, body).Body)
	for events.Scan() && !strings.Contains(events.Text(), "running") {
	}
	leave()
	// Stop waits for what runs; a job that was left ends long before its minute.
	c.Runs.Stop(t.Context())
	list, _, err := c.History.List("", 1)
	if err != nil || len(list) != 1 || list[0].Outcome == nil || *list[0].Outcome != job.Cancelled {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestCancelGivesAReceipt(t *testing.T) {
	s, id := server(t)
	runID, end := endless(t, s)
	r, err := http.NewRequest(http.MethodPost, s.URL+"/v1/jobs/"+runID+"/cancel", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.Client().Do(r)
	if err != nil || resp.StatusCode != 202 {
		t.Fatal(resp.Status, err)
	}
	resp.Body.Close()
	done := end()
	st, err := receipt.Verify(done.Receipt, receipt.Pin{PeerID: id.PeerID(), Key: id.Public()})
	if err != nil || st.Predicate.Outcome != job.Cancelled || *done.ExitCode != 130 {
		t.Errorf("%+v, %v", st.Predicate, err)
	}
}
