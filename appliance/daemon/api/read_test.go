package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"phase/appliance/compute/job"
	"phase/appliance/compute/modulecache"
)

// room is room for everything.
type room struct {
	requester string
	sent      *modulecache.Recent
}

func (r room) Recent(begin []byte) *modulecache.Module {
	if r.sent == nil {
		return nil
	}
	return r.sent.Find(r.requester, begin)
}

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
// is like a module that this requester sent before.
func TestAModuleThatIsSentAgain(t *testing.T) {
	long := append([]byte("\x00asm\x01\x00\x00\x00\x00\xff\xff\x7f\x00"), bytes.Repeat([]byte("no code "), enough/2)...)
	changed := func(at int) []byte {
		other := bytes.Clone(long)
		other[at]++
		return other
	}
	var sent modulecache.Recent
	send := func(requester string, module []byte) *modulecache.Module {
		t.Helper()
		kind, body := form(t, part{"module", module})
		r := httptest.NewRequest(http.MethodPost, "/v1/jobs", body)
		r.Header.Set("Content-Type", kind)
		got, err := read(r, false, room{requester, &sent})
		if err != nil {
			t.Fatal(err)
		}
		m := got.offer.Module
		if !bytes.Equal(m.Bytes(), module) || got.offer.Spec.Job().ModuleHash != job.Hash(module) {
			t.Fatalf("%d bytes were read of %d, or others", len(m.Bytes()), len(module))
		}
		sent.Add(requester, m)
		return m
	}
	first := send("me", long)
	if again := send("me", long); again != first {
		t.Error("it was kept twice")
	}
	if other := send("you", long); other == first {
		t.Error("it was compared with what another requester sent")
	}
	for name, module := range map[string][]byte{
		"short": long[:enough-1], "as long as is compared": long[:enough], "cut off": long[:3*enough], "longer": append(bytes.Clone(long), "more"...),
		"another at the beginning": changed(10), "another in the middle": changed(2 * enough), "another at the end": changed(len(long) - 1),
	} {
		if send("me", module) == first {
			t.Errorf("%s: it was taken for the other", name)
		}
	}
}
