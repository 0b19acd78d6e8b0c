package redact

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const secret = "hunter2hunter2hunter2"

// What has the form of a secret is taken out, and what stands around it is left.
func TestForms(t *testing.T) {
	for text, want := range map[string]string{
		"nothing at all": "nothing at all",
		"holds release stable/x86_64 version 7 sha256:0e39781234805a4a":              "holds release stable/x86_64 version 7 sha256:0e39781234805a4a",
		"GET http://example.org/x?auth=" + secret + " failed":                        "GET http://example.org/x?[removed] failed",
		"GET /v1/logs?x=" + secret:                                                   "GET /v1/logs?[removed]",
		"http://me:" + secret + "@192.0.2.1:8080/a":                                  "http://[removed]@192.0.2.1:8080/a",
		"http://me@you:" + secret + "@192.0.2.1/a":                                   "http://[removed]@192.0.2.1/a",
		"Authorization: Bearer " + secret:                                            "Authorization: [removed] " + "[removed]",
		"sent bearer " + secret + ", refused":                                        "sent bearer [removed], refused",
		"token " + secret:                                                            "token [removed]",
		"password=" + secret + "&user=x":                                             "password=[removed]&user=x",
		`api_key: "` + secret + ` and more" x`:                                       "api_key: [removed] x",
		"PHASE_TOKEN='" + secret + "' plasmd":                                        "PHASE_TOKEN=[removed] plasmd",
		"a -----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY----- b": "a [removed] b",
		"a -----BEGIN PRIVATE KEY-----\n" + secret:                                   "a [removed]",
		"the token must have at least 16 characters":                                 "the token must have at least 16 characters",
	} {
		if got := (Redactor{}).Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// A value that is known is taken out wherever it stands; a short one is not, as it
// would be found in words.
func TestKnown(t *testing.T) {
	r := New("abcdefgh", "abcdefghijkl", "a")
	if got := r.Text("x abcdefghijkl y abcdefgh z a"); got != "x [removed] y [removed] z a" {
		t.Errorf("it became %q", got)
	}
}

// JSON stays JSON: what stands under the name of a secret goes, whatever it is.
func TestValue(t *testing.T) {
	var v any
	text := `{"token":["` + secret + `"],"admin_secret":7,"list":[{"url":"http://a:` + secret + `@b/"},3,null],"text":"password: ` + secret + `"}`
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"token": Mark, "admin_secret": Mark, "list": []any{map[string]any{"url": "http://[removed]@b/"}, 3.0, nil}, "text": "password: [removed]"}
	if got := (Redactor{}).Value(v); !reflect.DeepEqual(got, want) {
		t.Errorf("it became %v", got)
	}
}

func ExampleRedactor_Text() {
	fmt.Println(New("0123456789abcdef").Text("0123456789abcdef was asked for http://user:word@192.0.2.1/"))
	// Output: [removed] was asked for http://[removed]@192.0.2.1/
}

// FuzzText: no known value is left, and a second time takes nothing more out of
// what is known.
func FuzzText(f *testing.F) {
	f.Add("token 0123456789abcdef0123", "0123456789abcdef")
	f.Add("http://a:b@c/?d=e", "abcdefgh")
	f.Fuzz(func(t *testing.T, text, value string) {
		if len(value) < minKnown || strings.Contains(Mark, value) || strings.Contains(value, Mark) {
			return
		}
		_ = New(value).Text(text)
		_ = (Redactor{}).Value(map[string]any{value: text})
		if got := New(value).Text("x\n" + value); strings.Contains(got, value) {
			t.Errorf("%q is left in %q", value, got)
		}
	})
}
