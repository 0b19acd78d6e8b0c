package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/journal"
	"phase/appliance/release/operator"
)

// Every route and method of the server is described, and nothing else is.
func TestDescriptionHasTheRoutes(t *testing.T) {
	var served, described []string
	routes := (Config{}).routes()
	maps.Copy(routes, (&network{}).routes())
	for path, m := range routes {
		for method := range m {
			served = append(served, method+" "+path)
		}
	}
	for op := range describe(t).operations(t) {
		described = append(described, op)
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served are %q, described %q", served, described)
	}
}

// call is one request, and the status it must have.
type call struct {
	name, method, path string
	kind               string
	body               []byte
	token              string
	status             int
}

// Every status of every operation is seen, and each answer is as described.
func TestAnswersAreAsDescribed(t *testing.T) {
	d := describe(t)
	c, _ := node(t)
	f := newFleet(t, 4)
	c.Remote = f
	c.Peers = somePeers
	c.Events = &fakeEvents{statuses: []int{200, 403, 503}}
	c.Update = fakeUpdater{}
	c.Support = func(_ context.Context, w io.Writer) error { _, err := io.WriteString(w, "an archive"); return err }
	h, err := Handler(c, token)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)

	body := func(parts ...part) (string, []byte) {
		kind, b := form(t, parts...)
		return kind, b.Bytes()
	}
	many := job.Default(empty)
	many.CPUCores = 64
	cores, err := job.New(many)
	if err != nil {
		t.Fatal(err)
	}
	kind, good := body(part{"module", empty})
	kindBad, noModule := body()
	kindLarge, large := body(part{"module", empty}, part{"job", make([]byte, 1<<20+1)})
	kindCores, tooMany := body(part{"module", empty}, part{"job", cores.File()})
	kindDigest, digestAlone := body(byDigest(t, job.Hash(empty)))
	status, _, text := post(t, s, token, kind, bytes.NewReader(good))
	var first answer
	if err := json.Unmarshal(text, &first); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	if s, _, _ := post(t, s, token, kind, bytes.NewReader(good)); s != 200 {
		t.Fatal(s)
	}
	unknown := strings.Repeat("0", 32)
	f.failures[f.peers[0]], f.failures[f.peers[1]] = died(f.peers[0]), refused(f.peers[1], scheduler.NotAuthorized)
	kindOn, on := body(part{"module", empty}, part{"on", []byte(f.peers[2])})
	kindTwo, two := body(part{"module", empty}, part{"replicas", []byte("2")})
	kindDies, dies := body(part{"module", empty}, part{"on", []byte(f.peers[0])})
	kindRefuses, refuses := body(part{"module", empty}, part{"on", []byte(f.peers[1])})
	calls := []call{
		{"a job", "POST", "/v1/jobs", kind, good, token, 200},
		{"no module", "POST", "/v1/jobs", kindBad, noModule, token, 400},
		{"no token", "POST", "/v1/jobs", kind, good, "", 401},
		{"too large", "POST", "/v1/jobs", kindLarge, large, token, 413},
		{"no form", "POST", "/v1/jobs", "application/json", []byte("{}"), token, 415},
		{"too many cores", "POST", "/v1/jobs", kindCores, tooMany, token, 422},
		{"by digest", "POST", "/v1/jobs", kindDigest, digestAlone, token, 422},
		{"on a peer", "POST", "/v1/jobs", kindOn, on, token, 200},
		{"on two", "POST", "/v1/jobs", kindTwo, two, token, 200},
		{"on one that dies", "POST", "/v1/jobs", kindDies, dies, token, 502},
		{"on one that refuses", "POST", "/v1/jobs", kindRefuses, refuses, token, 403},
		{"list", "GET", "/v1/jobs", "", nil, token, 200},
		{"list, more", "GET", "/v1/jobs?limit=1", "", nil, token, 200},
		{"list, none", "GET", "/v1/jobs?limit=0", "", nil, token, 400},
		{"list, no token", "GET", "/v1/jobs", "", nil, "x", 401},
		{"list behind nothing", "GET", "/v1/jobs?before=" + unknown, "", nil, token, 404},
		{"one", "GET", "/v1/jobs/" + first.RunID, "", nil, token, 200},
		{"one, misspelt", "GET", "/v1/jobs/0", "", nil, token, 400},
		{"one, no token", "GET", "/v1/jobs/" + first.RunID, "", nil, "", 401},
		{"one, unknown", "GET", "/v1/jobs/" + unknown, "", nil, token, 404},
		{"cancel, misspelt", "POST", "/v1/jobs/0/cancel", "", nil, token, 400},
		{"cancel, no token", "POST", "/v1/jobs/" + first.RunID + "/cancel", "", nil, "", 401},
		{"cancel, unknown", "POST", "/v1/jobs/" + unknown + "/cancel", "", nil, token, 404},
		{"cancel, over", "POST", "/v1/jobs/" + first.RunID + "/cancel", "", nil, token, 409},
		{"logs", "GET", "/v1/logs?lines=5", "", nil, token, 200},
		{"logs, of one", "GET", "/v1/logs?service=update&since=2026-11-30T03:04:05Z&follow=false", "", nil, token, 200},
		{"logs, of nobody", "GET", "/v1/logs?service=a+b", "", nil, token, 400},
		{"logs, since when", "GET", "/v1/logs?since=yesterday", "", nil, token, 400},
		{"logs, followed how", "GET", "/v1/logs?follow=1", "", nil, token, 400},
		{"logs, none", "GET", "/v1/logs?lines=x", "", nil, token, 400},
		{"logs, no token", "GET", "/v1/logs", "", nil, "", 401},
		{"support", "GET", "/v1/support-bundle", "", nil, token, 200},
		{"support, of what", "GET", "/v1/support-bundle?x=1", "", nil, token, 400},
		{"support, no token", "GET", "/v1/support-bundle", "", nil, "", 401},
		{"node", "GET", "/v1/node", "", nil, token, 200},
		{"node, of what", "GET", "/v1/node?x=1", "", nil, token, 400},
		{"node, no token", "GET", "/v1/node", "", nil, "", 401},
		{"peers", "GET", "/v1/peers", "", nil, token, 200},
		{"peers, of whom", "GET", "/v1/peers?x=1", "", nil, token, 400},
		{"peers, no token", "GET", "/v1/peers", "", nil, "", 401},
	}
	calls = append(calls, eventCalls...)
	for _, of := range []struct{ method, path string }{{"GET", "/v1/update"}, {"POST", "/v1/update/apply"}, {"POST", "/v1/update/disks"}} {
		calls = append(calls,
			call{of.path, of.method, of.path, "", nil, token, 200},
			call{of.path + ", of what", of.method, of.path + "?x=1", "", nil, token, 400},
			call{of.path + ", no token", of.method, of.path, "", nil, "", 401})
		for code, status := range updateStatuses {
			calls = append(calls, call{of.path + ", " + code, of.method, of.path + "?on=" + code, "", nil, token, status})
		}
		calls = append(calls, call{of.path + ", failed", of.method, of.path + "?on=" + operator.Failed, "", nil, token, 500})
	}
	calls = append(calls, call{"no such action", "POST", "/v1/update/format", "", nil, token, 404},
		call{"status is no action", "POST", "/v1/update/status", "", nil, token, 404},
		call{"a release to hold", "POST", "/v1/update/hold?release=x", "", nil, token, 400})
	_, _ = c.Log.Write([]byte("a line\nanother \x1b[31mline\n"))
	seen := map[string]map[string]bool{}
	check := func(k call) {
		r, err := http.NewRequest(k.method, s.URL+k.path, bytes.NewReader(k.body))
		if err != nil {
			t.Fatal(err)
		}
		if k.kind != "" {
			r.Header.Set("Content-Type", k.kind)
		}
		if k.token != "" {
			r.Header.Set("Authorization", "Bearer "+k.token)
		}
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != k.status {
			t.Errorf("%s: %d %s", k.name, resp.StatusCode, text)
		}
		path, _, _ := strings.Cut(k.path, "?")
		if strings.HasPrefix(path, "/v1/update/") {
			path = "/v1/update/{do}"
		}
		for _, id := range []string{first.RunID, unknown, "0"} {
			path = strings.Replace(path, "/jobs/"+id, "/jobs/{run_id}", 1)
		}
		op, status := k.method+" "+path, resp.Status[:3]
		if err := d.answers(op, status, resp.Header.Get("Content-Type"), text); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
		if seen[op] == nil {
			seen[op] = map[string]bool{}
		}
		seen[op][status] = true
	}
	for _, k := range calls {
		check(k)
	}
	for range journal.MaxReaders {
		leave, _ := c.Log.Enter()
		defer leave()
	}
	check(call{"logs, too many", "GET", "/v1/logs?follow=true", "", nil, token, 503})
	// A job to be cancelled, and no room for another.
	begun, end := endless(t, s)
	first.RunID = begun
	check(call{"cancel", "POST", "/v1/jobs/" + begun + "/cancel", "", nil, token, 202})
	end()
	for range limits.PerRequester {
		place, err := c.Runs.Enter("token")
		if err != nil {
			t.Fatal(err)
		}
		defer place.Leave()
	}
	check(call{"no room", "POST", "/v1/jobs", kind, good, token, 503})
	// A history that cannot be read or written.
	if err := c.History.Close(); err != nil {
		t.Fatal(err)
	}
	check(call{"list, broken", "GET", "/v1/jobs", "", nil, token, 500})
	check(call{"one, broken", "GET", "/v1/jobs/" + unknown, "", nil, token, 500})
	check(call{"cancel, broken", "POST", "/v1/jobs/" + unknown + "/cancel", "", nil, token, 500})

	for op, operation := range d.operations(t) {
		if slices.Contains(operation["tags"].([]any), any("network")) {
			continue // on the socket alone: the tests of package finder, and TestFoundIsAsDescribed
		}
		for status := range d.object(operation, "responses") {
			// A job that nothing can be written down of, and one cancelled while
			// it waited, are in the tests of runs; one that is not sent to its end
			// is in TestRequestersThatStop; one for other nodes where there is no
			// network in TestANodeWithoutANetworkSaysSo, a node without peers in
			// TestPeers, one without a page in TestNoPage, and bundles that are not
			// made in TestSupport.
			elsewhere := []string{"GET /v1/peers404", "GET /v1/events404", "GET /v1/support-bundle404", "GET /v1/support-bundle503"}
			if op == "POST /v1/jobs" && slices.Contains([]string{"408", "409", "500", "501"}, status) || slices.Contains(elsewhere, op+status) {
				continue
			}
			if !seen[op][status] {
				t.Errorf("%s: %s is described and was not seen; seen were %v", op, status, slices.Sorted(maps.Keys(seen[op])))
			}
		}
	}
}

// Every kind of event is as described.
func TestEventsAreAsDescribed(t *testing.T) {
	event, err := describe(t).schema("components", "schemas", "Event")
	if err != nil {
		t.Fatal(err)
	}
	// What is described is known by the names its alternatives allow.
	known := map[string]bool{}
	d := describe(t)
	for _, one := range d.object(d.root, "components", "schemas", "Event")["oneOf"].([]any) {
		name := d.object(d.follow(one), "properties", "event")
		if c, ok := name["const"].(string); ok {
			known[c] = true
		}
		if list, ok := name["enum"].([]any); ok {
			for _, e := range list {
				known[e.(string)] = true
			}
		}
	}
	seen := map[string]bool{}
	f := newFleet(t, 3)
	f.failures[f.peers[0]] = died(f.peers[0])
	s, _ := f.server()
	module, err := hello()
	if err != nil {
		t.Fatalf("%v: %s", err, module)
	}
	for _, parts := range [][]part{
		{{"module", module}, {"stdin", []byte("abc")}},
		{{"module", module}, {"on", []byte("auto")}, {"stdin", []byte("abc")}},
		{{"module", module}, {"replicas", []byte("2")}},
		{{"module", append(bytes.Clone(empty), 0xff)}, {"offer_nonce", []byte(scheduler.NewNonce())}},
	} {
		kind, body := form(t, parts...)
		for _, line := range lines(t, s, kind, body) {
			var fields map[string]any
			if err := json.Unmarshal(line, &fields); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			name, _ := fields["event"].(string)
			if err := event.Validate(jsonValue(t, line)); err != nil {
				t.Errorf("%s is not as described: %v", line, err)
			}
			seen[name] = true
		}
	}
	seen["stderr"] = true // like stdout
	if got, want := slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(known)); !slices.Equal(got, want) {
		t.Errorf("described are %q, seen were %q", want, got)
	}
}

// What the rules of OpenAPI have every tool ignore, or what makes generated
// clients send text where bytes are meant, is not how anything is described.
func TestDescriptionIsOfUseToTools(t *testing.T) {
	d := describe(t)
	for op, o := range d.operations(t) {
		parameters, _ := o["parameters"].([]any)
		for _, p := range parameters {
			name, _ := d.follow(p)["name"].(string)
			if d.follow(p)["in"] == "header" && slices.Contains([]string{"Accept", "Content-Type", "Authorization"}, name) {
				t.Errorf("%s: OpenAPI has tools ignore the header parameter %s", op, name)
			}
		}
	}
	parts := d.object(d.operations(t)["POST /v1/jobs"], "requestBody", "content", "multipart/form-data", "schema", "properties")
	for _, name := range []string{"module", "job", "stdin"} {
		if d.follow(parts[name])["format"] != "binary" {
			t.Errorf("the part %s is not described as bytes", name)
		}
	}
}
