package page

import (
	"strings"
	"testing"
)

func TestAccept(t *testing.T) {
	for _, c := range []struct {
		accept string
		html   bool
	}{
		{"", false}, {"*/*", false}, {"application/json", false}, {"text/plain", false},
		{"text/html", true}, {"TEXT/HTML", true},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true},
		{"text/html;q=0, */*", false}, {"application/json, text/html;q=0.5", false}, {"application/json;q=0.5, text/html", true},
		{"text/html;q=0.3, */*;q=0.8", false}, {"text/html;q=0.3, application/*;q=0.8", false}, {"text/html, */*", true},
		{"application/json;q=0.1, text/html;q=0.5, */*", true},
	} {
		if got := wantsHTML([]string{c.accept}); got != c.html {
			t.Errorf("wantsHTML(%q) = %v", c.accept, got)
		}
	}
}

// Whatever a client accepts: a page only if it names one, and never when it
// would rather have JSON.
func FuzzAccept(f *testing.F) {
	f.Add("text/html;q=0.5, application/json")
	f.Add("*/*;q=0.8;q=2, TEXT/*")
	f.Fuzz(func(t *testing.T, accept string) {
		html := wantsHTML([]string{accept})
		if low := strings.ToLower(accept); html && !strings.Contains(low, "html") && !strings.Contains(low, "text/*") {
			t.Errorf("%q gets a page", accept)
		}
		if wantsHTML([]string{"application/json;q=9, application/json", accept}) && !wantsHTML([]string{accept}) {
			t.Errorf("%q gets a page because JSON is asked for too", accept)
		}
	})
}
