package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
)

// room is room for everything, with the empty module held.
type room struct{}

func (room) Hold(int64) error { return nil }

func (room) Module(digest names.Digest) (*modulecache.Module, error) {
	if digest == names.Sum(empty) {
		return modulecache.NewModule(empty), nil
	}
	return nil, nil
}

// FuzzRead: a body that is no request is refused and never panics, and what is
// read is an offer whose job names its module, or is refused later as one that
// does not. An offer without a module is one of a module that is held.
func FuzzRead(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\n\x00asm\x01\x00\x00\x00\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{}\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n" + `{"version":"1.0","module_hash":"` + job.Hash(empty) + `","cpu_cores":1,"memory_mb":1,"timeout_seconds":1}` +
		"\r\n--x\r\nContent-Disposition: form-data; name=\"stdin\"\r\n\r\nin\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/jobs", bytes.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		for _, stream := range []bool{false, true} {
			r.Body = io.NopCloser(bytes.NewReader(body))
			got, err := read(r, stream, room{})
			if err == nil && got.offer.Module == nil {
				t.Fatalf("read %q as an offer without a module", body)
			}
			if err == nil && (got.offer.Spec.ID() == "" || got.offer.Nonce == "" && !bytes.Contains(body, []byte("offer_nonce"))) {
				t.Fatalf("read %q as %+v", body, got.offer)
			}
		}
	})
}
