package problem

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
)

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("ETag", `"x"`)
	w.Header().Set("Repr-Digest", "sha-256=:x:")
	WriteCode(w, 404, "unknown", "no \x1b[31m such thing")
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, type %q", w.Code, w.Header().Get("Content-Type"))
	}
	if got["status"] != 404.0 || got["title"] != "Not Found" || got["type"] != "about:blank" || got["code"] != "unknown" {
		t.Errorf("problem %v", got)
	}
	if got["detail"] != "no  [31m such thing" {
		t.Errorf("detail %q reached the client unclean", got["detail"])
	}
	for _, name := range []string{"ETag", "Repr-Digest"} {
		if w.Header().Get(name) != "" {
			t.Errorf("%s of the thing refused was left on the problem", name)
		}
	}
}
