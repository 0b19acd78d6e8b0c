package api

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// What is refused before its body is read is answered at once, though more of
// the body is to come: its sender may be waiting for the answer.
func TestRefusedWhileTheBodyIsStillToCome(t *testing.T) {
	s, _ := server(t)
	for name, c := range map[string]struct {
		path, token string
		status      int
	}{
		"token":     {"/v1/jobs", "another one, of no use", 401},
		"parameter": {"/v1/jobs?limit=1", token, 400},
		"route":     {"/v1/none", token, 404},
		"method":    {"/v1/node", token, 405},
	} {
		body, never := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		context.AfterFunc(ctx, func() { never.Close() }) // else the client waits on
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+c.path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+c.token)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			if resp.StatusCode != c.status {
				t.Errorf("%s: %d, want %d", name, resp.StatusCode, c.status)
			}
			resp.Body.Close()
		}
		cancel()
	}
}
