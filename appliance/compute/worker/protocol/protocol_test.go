package protocol

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"phase/appliance/compute/job"
)

// Arguments and environment arrive byte for byte, whatever they are.
func TestWordsAreAnyBytes(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	sent := Order{Do: Run, MemoryMB: 1, Cores: 1, Args: Convert[[]byte]([]string{"x", "", string(all)}), Env: [][]byte{[]byte("B=\xfe\xff")}}
	text, err := sent.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got Order
	if err := got.Decode(text, 3); err != nil || !reflect.DeepEqual(got.Args, sent.Args) || !reflect.DeepEqual(got.Env, sent.Env) {
		t.Errorf("%+v, %v", got, err)
	}
	sent.Args = [][]byte{make([]byte, MaxOrder)}
	if _, err := sent.Encode(); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("an order over the limit: %v", err)
	}
}

func TestOrdersThatAreIncomplete(t *testing.T) {
	for _, c := range []struct {
		text  string
		files int
		ok    bool
	}{
		{`{"do":"enter"}`, 0, true},
		{`{"do":"enter"}`, 1, false},
		{`{"do":"enter","folders":[{"guest":"L2Q=","read_only":true}]}`, 1, true},
		{`{"do":"compile","cores":1}`, 1, true},
		{`{"do":"compile","cores":1}`, 0, false},
		{`{"do":"compile"}`, 1, false},
		{`{"do":"run","memory_mb":1,"cores":1}`, 3, true},
		{`{"do":"run","memory_mb":1,"cores":1}`, 5, true},
		{`{"do":"run","memory_mb":1,"cores":1}`, 4, false},
		{`{"do":"run","cores":1}`, 3, false},
		{`{"do":"run","memory_mb":4097,"cores":1}`, 3, false},
		{`{"do":"run","memory_mb":1,"cores":1,"args":["not base64!"]}`, 3, false},
		{`{"do":"dance"}`, 0, false},
		{`{}`, 0, false},
		{``, 0, false},
	} {
		var o Order
		if err := o.Decode([]byte(c.text), c.files); (err == nil) != c.ok {
			t.Errorf("%s with %d files: %v", c.text, c.files, err)
		}
	}
}

// What a worker accepts as an order has limits that it can keep.
func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"do":"run","memory_mb":1,"cores":1,"args":["eA=="]}`), 3)
	f.Add([]byte(`{"do":"compile","cores":4}`), 1)
	f.Fuzz(func(t *testing.T, text []byte, files int) {
		var o Order
		if o.Decode(text, files) != nil {
			return
		}
		if o.Do == Run && (o.MemoryMB < 1 || o.MemoryMB > job.MaxMemoryMB) || o.Do != Enter && o.Cores < 1 || files < 0 {
			t.Errorf("%+v with %d files", o, files)
		}
	})
}

// What a worker says that may be under the control of its module is a report or
// an error.
func FuzzReport(f *testing.F) {
	for _, r := range []Report{{Walls: []string{"process"}}, {Outcome: job.Exited, Code: 3}, {Refused: "no", Stale: true}} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := DecodeReport(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := DecodeReport(again); err != nil || !slices.Equal(same.Walls, r.Walls) || same.Outcome != r.Outcome || same.Code != r.Code {
			t.Errorf("%q is read as %+v, and that as %+v, %v", text, r, same, err)
		}
	})
}
