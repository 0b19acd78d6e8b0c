// Package redact takes secrets out of text that leaves a node: values that are
// known, and what has the form of a secret. It is the second wall: what is known
// to be secret should not be written at all.
package redact

import (
	"regexp"
	"slices"
	"strings"
)

// Mark stands where a secret was.
const Mark = "[removed]"

// minKnown is the shortest value that is taken out wherever it stands: a shorter
// one would be found in words.
const minKnown = 8

// named are the words that the name of a secret has in it.
var named = []string{
	"password", "passwd", "passphrase", "secret", "token", "credential", "api_key", "api-key", "apikey",
	"private_key", "private-key", "privatekey", "authorization", "cookie",
}

// forms are what secrets look like. Each is tried on what the one before it left, and
// only where the text has one of its words in it, as almost none has.
var forms = []struct {
	words []string // in lower case
	form  *regexp.Regexp
	with  string
}{
	{[]string{"private key-----"}, regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`), Mark},
	// The user and the password of a URL, and all of its query.
	{[]string{"://"}, regexp.MustCompile(`://[^\s/"'<>]*@`), "://" + Mark + "@"},
	{[]string{"?"}, regexp.MustCompile(`\?[^\s?"'<>=]*=[^\s"'<>]*`), "?" + Mark},
	{[]string{"bearer", "basic"}, regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "${1} " + Mark},
	{[]string{"token"}, regexp.MustCompile(`(?i)\b(token)\s+[A-Za-z0-9._~+/=-]{16,}`), "${1} " + Mark},
	{named, regexp.MustCompile(`(?i)((?:` + strings.Join(named, "|") + `)[a-z0-9_.-]*["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s"',;&<>]+)`), "${1}" + Mark},
}

// name says whether a key is the name of a secret.
var name = regexp.MustCompile(`(?i)` + strings.Join(named, "|"))

// Redactor takes secrets out. The zero value knows the forms alone.
type Redactor struct{ known []string }

// New returns one that takes these values out wherever they stand, too. What has
// less than 8 characters is not among them.
func New(values ...string) Redactor {
	known := slices.DeleteFunc(slices.Clone(values), func(v string) bool { return len(v) < minKnown })
	// The longest first: one may be a part of another.
	slices.SortFunc(known, func(a, b string) int { return len(b) - len(a) })
	return Redactor{known}
}

// Text returns a text without its secrets.
func (r Redactor) Text(s string) string {
	for _, value := range r.known {
		s = strings.ReplaceAll(s, value, Mark)
	}
	lower := strings.ToLower(s)
	for _, f := range forms {
		if !slices.ContainsFunc(f.words, func(word string) bool { return strings.Contains(lower, word) }) {
			continue
		}
		s = f.form.ReplaceAllString(s, f.with)
	}
	return s
}

// Value does the same to each text in a decoded JSON value, and takes out what
// stands under the name of a secret, whatever it is. It changes v.
func (r Redactor) Value(v any) any {
	switch v := v.(type) {
	case string:
		return r.Text(v)
	case []any:
		for i := range v {
			v[i] = r.Value(v[i])
		}
	case map[string]any:
		for key, inner := range v {
			if name.MatchString(key) {
				v[key] = Mark
				continue
			}
			v[key] = r.Value(inner)
		}
	}
	return v
}
