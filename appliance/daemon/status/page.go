package status

import (
	_ "embed"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
)

//go:embed page.css
var pageStyle string

// page answers a person. It needs nothing from anywhere else, and is told so
// to the browser: what a stranger's manifest or a state file says is text.
func (s *Status) page(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	send(w, http.StatusOK, "text/html; charset=utf-8", []byte(pageOf(s.Report())))
}

// markup is a page in the making. It is written by code: html/template alone would
// make every release 0.2 MB larger.
type markup struct{ strings.Builder }

// add adds HTML. What is not of this file comes as an argument, is escaped, and
// stands between tags or in quotes.
func (m *markup) add(text string, args ...any) {
	for i, a := range args {
		args[i] = html.EscapeString(fmt.Sprint(a))
	}
	fmt.Fprintf(m, text, args...)
}

func pageOf(r Report) string {
	var m markup
	m.add("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>%v</title>\n<style>\n", r.Name)
	m.WriteString(pageStyle)
	m.add("</style>\n<h1>%v</h1>\n<p><strong class=\"%v\">%v</strong>, up %v", r.Name, r.Health.Status, r.Health.Status, ui.Duration(time.Duration(r.UptimeSeconds)*time.Second))
	if r.Mode != "" {
		m.add(", mode %v", r.Mode)
	}
	if r.BootedFrom != "" {
		m.add(", booted from %v", r.BootedFrom)
	}
	m.add("</p>\n<p><code>%v</code></p>\n", r.PeerID)
	if r.Health.Status != "healthy" {
		m.add("<ul>")
		for _, name := range slices.Sorted(maps.Keys(r.Health.Checks)) {
			if said := r.Health.Checks[name]; said != "ok" {
				m.add("<li>%v: %v</li>", name, said)
			}
		}
		m.add("</ul>\n")
	}
	m.releases(r.Releases)
	m.network(r.Network.Interfaces)
	m.add("<h2>Update</h2>\n<p>%v", r.Update.State)
	if last := r.Update.Last; last != nil {
		m.add(": version %v from %v was %v", last.Version, last.Provider, last.Result)
		if last.Reason != "" {
			m.add(", %v", last.Reason)
		}
	}
	m.add("</p>\n")
	m.problems(r.Problems, r.OptionsUnknown)
	m.add("<p><a href=\"/status\">status</a> · <a href=\"/health\">health</a> · <a href=\"/metrics\">metrics</a></p>\n</html>\n")
	return m.String()
}

func (m *markup) releases(held []ReleaseInfo) {
	m.add("<h2>Releases held</h2>\n")
	if len(held) == 0 {
		m.add("<p>None.</p>\n")
		return
	}
	m.add("<table>\n<tr><th>Release</th><th>Version</th><th>Expires</th><th>Artifacts</th></tr>\n")
	for _, r := range held {
		at := "/" + url.PathEscape(r.Channel) + "/" + url.PathEscape(r.Arch) + "/"
		m.add("<tr>\n<td><a href=\"%vmanifest.json\">%v/%v</a> %v<br><code title=\"%v\">%v…</code></td>\n", at, r.Channel, r.Arch, r.Name, r.Digest, r.Digest[:min(len(r.Digest), len("sha256:")+12)])
		m.add("<td>%v</td><td>%v</td>\n<td>", r.Version, r.Expires.UTC().Format(time.DateOnly))
		for _, name := range slices.Sorted(maps.Keys(r.Artifacts)) {
			m.add("<a href=\"%v%v\">%v</a> %v<br>", at, url.PathEscape(name), name, ui.Bytes(r.Artifacts[name].Size))
		}
		m.add("</td>\n</tr>\n")
	}
	m.add("</table>\n")
	first := held[0]
	m.add("<p>A stick of one, made on a computer that has the programs of Phase and the fleet's root.json:</p>\n<pre>fetch -r root.json -p http://THIS-NODE:8080 -c %v -A %v -o releases\nimages flash -r root.json releases/%v/%v /dev/sdX</pre>\n", first.Channel, first.Arch, first.Channel, first.Arch)
}

func (m *markup) network(interfaces []statefile.Interface) {
	if len(interfaces) == 0 {
		return
	}
	m.add("<h2>Network</h2>\n<table><tr><th>Interface</th><th>Method</th><th>Addresses</th></tr>\n")
	for _, i := range interfaces {
		down := ""
		if !i.Up {
			down = " (down)"
		}
		m.add("<tr><td>%v%v</td><td>%v</td><td>", i.Name, down, i.Method)
		for _, address := range i.Addresses {
			m.add("<code>%v</code><br>", address)
		}
		m.add("</td></tr>\n")
	}
	m.add("</table>\n")
}

func (m *markup) problems(problems, unknown []string) {
	if len(problems)+len(unknown) == 0 {
		return
	}
	m.add("<h2>Problems</h2>\n<ul>")
	for _, p := range problems {
		m.add("<li>%v</li>", p)
	}
	for _, option := range unknown {
		m.add("<li>option not known: <code>%v</code></li>", option)
	}
	m.add("</ul>\n")
}
