package plasmd

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"phase/appliance/base/program"
	"phase/appliance/base/strictjson"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/status"
)

func obeyed(r rune) bool { return r != '\n' && r != ' ' && !unicode.IsPrint(r) }

// A provider is a stranger: what it says of itself moves no cursor, fills no
// memory, and is no verdict unless it is the document it should be.
func TestProviderThatIsHostile(t *testing.T) {
	const fine = `{"name":"\u001b[2Jx` + "\u009b2J\u202e" + `","health":{"status":"healthy","checks":{"a":"` + "\u0085" + `"}},"releases":[{"name":"` + "\u009b1m" + `","artifacts":null}]}`
	for _, c := range []struct {
		name, body string
		status     int
		code       int
	}{
		{"control characters", fine, 200, 0},
		{"unhealthy", `{"health":{"status":"unhealthy"}}`, 200, 1},
		{"health in capitals", `{"health":{"STATUS":"healthy"}}`, 200, 1},
		{"no health", `{}`, 200, 1},
		{"twice", `{"health":{"status":"unhealthy","status":"healthy"}}`, 200, 1},
		{"another type", `{"name":1,"health":{"status":"healthy"}}`, 200, 1},
		{"trailing", fine + "x", 200, 1},
		{"endless", fine + strings.Repeat(" ", 2<<20), 200, 1},
		{"no JSON", "<html>", 200, 1},
		{"another status", fine, 503, 1},
		{"a redirect", "", 302, 1},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		for _, args := range [][]string{{"status"}, {"list"}, {"status", "--json"}, {"list", "--json"}} {
			var out bytes.Buffer
			err := Run(t.Context(), append(append([]string{"provider"}, args...), "-a", srv.URL), nil, &out, io.Discard)
			if code, _ := program.Code(err); code != c.code {
				t.Errorf("%s, %v: exit code %d: %v", c.name, args, code, err)
			}
			if i := strings.IndexFunc(out.String(), obeyed); i >= 0 {
				t.Errorf("%s, %v: printed %q", c.name, args, &out)
			}
			if len(args) == 2 && out.Len() > 0 && !json.Valid(out.Bytes()) {
				t.Errorf("%s, %v: printed %q", c.name, args, &out)
			}
		}
		srv.Close()
	}
}

// Whatever a provider answers, what is printed is one line a row of printable
// text, and as JSON the same document.
func FuzzProviderStatus(f *testing.F) {
	f.Add([]byte(`{"name":"a","health":{"status":"healthy","checks":{"store":"no"}},"problems":["x"],"releases":[{"name":"b"}],"update":{"state":"s","last":{"version":1}}}`))
	f.Add([]byte("{\"name\":\"\u009b2J\U000e0001\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r status.Report
		if strictjson.Unmarshal(data, &r) != nil {
			return
		}
		for _, rows := range [][][]string{statusRows(r), listRows(r)} {
			var out bytes.Buffer
			if err := ui.Table(&out, rows); err != nil {
				t.Fatal(err)
			}
			if strings.IndexFunc(out.String(), obeyed) >= 0 || strings.Count(out.String(), "\n") != len(rows) {
				t.Fatalf("printed %q", &out)
			}
		}
		out := printable(data)
		var again status.Report
		if err := strictjson.Unmarshal(out, &again); err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if strings.IndexFunc(string(out), func(r rune) bool { return r > 0x7e && obeyed(r) }) >= 0 {
			t.Fatalf("printed %q", out)
		}
		_ = answer(io.Discard, false, data, statusRows, r)
	})
}
