package witness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"phase/appliance/base/names"
)

func TestTell(t *testing.T) {
	held, other := names.Sum([]byte("held")), names.Sum([]byte("other"))
	var book Book
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		book.Answer(w, r, func(d names.Digest) bool { return d == held })
	}))
	defer server.Close()
	for i, c := range []struct {
		word Word
		want int
	}{{Asked, 0}, {Begun, 1}, {Asked, 1}, {Begun, 2}, {Asked, 2}, {Good, 0}, {Asked, 0}, {Begun, 1}} {
		got, err := Tell(t.Context(), server.Client(), server.URL, held, c.word)
		if err != nil || got != c.want {
			t.Errorf("%d: after %q it counts %d, %v; want %d", i, c.word, got, err, c.want)
		}
	}
	if n, err := Tell(t.Context(), server.Client(), server.URL, other, Begun); err == nil {
		t.Errorf("a release that is not held is counted: %d", n)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if n, err := Tell(t.Context(), plain.Client(), plain.URL, held, Asked); err == nil {
		t.Errorf("a server that keeps no book counts %d", n)
	}
}

// However many machines there are, the book has an end, and the latest are in it.
func TestBookIsBounded(t *testing.T) {
	var b Book
	d := names.Sum(nil)
	for i := range 3 * maxBook {
		b.note(entry{fmt.Sprint(i), d}, Begun)
	}
	if len(b.tries) != maxBook || len(b.order) != maxBook {
		t.Errorf("%d machines are remembered, %d in order", len(b.tries), len(b.order))
	}
	if n := b.note(entry{fmt.Sprint(3*maxBook - 1), d}, Asked); n != 1 {
		t.Errorf("the latest was forgotten: %d", n)
	}
	if n := b.note(entry{"0", d}, Asked); n != 0 || len(b.tries) != maxBook {
		t.Errorf("asking is remembered: %d", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(names.Sum(nil).String() + "; begun")
	f.Add("sha256:; good")
	f.Fuzz(func(t *testing.T, text string) {
		d, word, err := parse(text)
		if err == nil && text != d.String()+"; "+string(word) {
			t.Errorf("%q was read as %s; %s", text, d, word)
		}
	})
}
