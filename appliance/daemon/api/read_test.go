package api

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/scheduler"
)

// room is room for everything.
type room struct{}

func (room) Hold(int64) error { return nil }

// FuzzRead: a body that is no request is refused and never panics, and what is
// read is an offer whose job names its module, or is refused later as one that
// does not.
func FuzzRead(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\n\x00asm\x01\x00\x00\x00\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{}\r\n--x--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/jobs", bytes.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		for _, stream := range []bool{false, true} {
			r.Body = io.NopCloser(bytes.NewReader(body))
			got, err := read(r, stream, room{})
			if err == nil && (got.offer.Spec.ID() == "" || got.offer.Nonce == "" && !bytes.Contains(body, []byte("offer_nonce"))) {
				t.Fatalf("read %q as %+v", body, got.offer)
			}
		}
	})
}

// TestAModuleThatIsSentAgain: what is read is what was sent, however much of it
// is like a module that came lately.
func TestAModuleThatIsSentAgain(t *testing.T) {
	long := append([]byte("\x00asm\x01\x00\x00\x00\x00\xff\xff\x7f\x00"), bytes.Repeat([]byte("no code "), enough/2)...)
	copy(long[16:], scheduler.NewNonce()) // no other run of this test has sent it, or one like it
	changed := func(at int) []byte {
		other := bytes.Clone(long)
		other[at]++
		return other
	}
	send := func(module []byte) []byte {
		t.Helper()
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("module", "module")
		if err == nil {
			_, err = part.Write(module)
		}
		if err = errors.Join(err, form.Close()); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/jobs", &body)
		r.Header.Set("Content-Type", form.FormDataContentType())
		got, err := read(r, false, room{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.offer.Module, module) || got.offer.Spec.Job().ModuleHash != job.Hash(module) {
			t.Fatalf("%d bytes were read of %d, or others", len(got.offer.Module), len(module))
		}
		if _, err := scheduler.Accept(got.offer); err != nil { // which remembers it
			t.Fatal(err)
		}
		return got.offer.Module
	}
	first := send(long)
	if again := send(long); &again[0] != &first[0] {
		t.Error("it was kept twice")
	}
	for name, module := range map[string][]byte{
		"short": long[:enough-1], "as long as is compared": long[:enough], "cut off": long[:3*enough], "longer": append(bytes.Clone(long), "more"...),
		"another at the beginning": changed(10), "another in the middle": changed(2 * enough), "another at the end": changed(len(long) - 1),
	} {
		if got := send(module); &got[0] == &first[0] {
			t.Errorf("%s: it was taken for the other", name)
		}
	}
}
