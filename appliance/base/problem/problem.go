// Package problem writes the errors that a Phase node answers over HTTP, all in
// the form of RFC 9457, application/problem+json.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"

	"phase/appliance/base/ui"
)

// ContentType of the body.
const ContentType = "application/problem+json"

// Document is RFC 9457, section 3. Its type is "about:blank" where the status
// says it all (section 4.2.1).
type Document struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code,omitempty"`
}

// New returns the document of a status, with one word for machines in the
// member "code", and what a person should know or do. Detail is cleaned.
func New(status int, code, detail string) Document {
	return Document{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: ui.Clean(detail)}
}

// Write answers with an HTTP status and what a person should know or do. What
// a handler had said of the thing it could not deliver (its length, digest,
// type, validators) is taken back first. Detail is cleaned: it may quote the
// request.
func Write(w http.ResponseWriter, status int, detail string) { WriteCode(w, status, "", detail) }

// WriteCode is Write with one word for machines in the member "code".
func WriteCode(w http.ResponseWriter, status int, code, detail string) {
	Send(w, status, New(status, code, detail))
}

// Send is Write for a document with members of its own beside those of
// Document. It panics where the document cannot be encoded.
func Send(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil { // strings and numbers always encode
		panic(err)
	}
	body = append(body, '\n')
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Content-Encoding", "Accept-Ranges", "Repr-Digest", "X-Artifact-Hash"} {
		h.Del(name)
	}
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails for a client that went away
}
