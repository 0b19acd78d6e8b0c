package page

import (
	"slices"
	"strconv"
	"strings"
)

// wantsHTML says whether text/html is asked for by name and not put behind
// JSON (RFC 9110, section 12.5.1). "*/*" alone, as curl sends it, is not.
func wantsHTML(accept []string) bool {
	html, other, said := 0.0, 0.0, 0 // said: how narrowly JSON was spoken of
	json := []string{"*/*", "application/*", "application/json"}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		fields := strings.Split(part, ";")
		quality := 1.0
		for _, param := range fields[1:] {
			name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); strings.EqualFold(strings.TrimSpace(name), "q") && err == nil {
				quality = q
			}
		}
		switch kind := strings.ToLower(strings.TrimSpace(fields[0])); {
		case slices.Contains([]string{"text/html", "application/xhtml+xml", "text/*"}, kind):
			html = max(html, quality)
		case slices.Contains(json, kind):
			// The narrower range counts: "application/json;q=0, */*" is no JSON.
			if narrow := slices.Index(json, kind) + 1; narrow > said {
				other, said = quality, narrow
			}
		}
	}
	return html > 0 && html >= other
}
