package status

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"sync"
	"time"

	"phase/appliance/base/problem"
	"phase/appliance/base/ui"
)

//go:embed page.html
var pageText string

// page is parsed when it is first asked for: most programs of the one binary
// never are.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"bytes": ui.Bytes,
		"date":  func(t time.Time) string { return t.UTC().Format("2006-01-02") },
		"short": func(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] },
		"uptime": func(seconds int64) string {
			return ui.Duration(time.Duration(seconds) * time.Second)
		},
	}).Parse(pageText))
})

// page answers a person. It needs nothing from anywhere else, and is told so
// to the browser: what a stranger's manifest or a state file says is text.
func (s *Status) page(w http.ResponseWriter) {
	var body bytes.Buffer
	if err := page().Execute(&body, s.Report()); err != nil {
		problem.Write(w, http.StatusInternalServerError, err.Error())
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	send(w, http.StatusOK, "text/html; charset=utf-8", body.Bytes())
}
