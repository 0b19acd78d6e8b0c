package worker

import (
	"bytes"
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
	sent := order{Do: doRun, MemoryMB: 1, Cores: 1, Args: convert[[]byte]([]string{"x", "", string(all)}), Env: [][]byte{[]byte("B=\xfe\xff")}}
	text, err := sent.encode()
	if err != nil {
		t.Fatal(err)
	}
	var got order
	if err := got.decode(text, 3); err != nil || !reflect.DeepEqual(got.Args, sent.Args) || !reflect.DeepEqual(got.Env, sent.Env) {
		t.Errorf("%+v, %v", got, err)
	}
	sent.Args = [][]byte{make([]byte, maxOrder)}
	if _, err := sent.encode(); err == nil || !strings.Contains(err.Error(), "too large") {
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
		var o order
		if err := o.decode([]byte(c.text), c.files); (err == nil) != c.ok {
			t.Errorf("%s with %d files: %v", c.text, c.files, err)
		}
	}
}

// What a worker accepts as an order has limits that it can keep.
func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"do":"run","memory_mb":1,"cores":1,"args":["eA=="]}`), 3)
	f.Add([]byte(`{"do":"compile","cores":4}`), 1)
	f.Fuzz(func(t *testing.T, text []byte, files int) {
		var o order
		if o.decode(text, files) != nil {
			return
		}
		if o.Do == doRun && (o.MemoryMB < 1 || o.MemoryMB > job.MaxMemoryMB) || o.Do != doEnter && o.Cores < 1 || files < 0 {
			t.Errorf("%+v with %d files", o, files)
		}
	})
}

// What a worker says that may be under the control of its module is a report or
// an error.
func FuzzReport(f *testing.F) {
	for _, r := range []report{{Walls: []string{"process"}}, {Outcome: job.Exited, Code: 3}, {Refused: "no", Stale: true}} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeReport(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := decodeReport(again); err != nil || !slices.Equal(same.Walls, r.Walls) || same.Outcome != r.Outcome || same.Code != r.Code {
			t.Errorf("%q is read as %+v, and that as %+v, %v", text, r, same, err)
		}
	})
}

// No more passes than is allowed, however it is divided.
func TestMeter(t *testing.T) {
	for _, size := range []int{1, 3, 10, 11, 100} {
		m := newMeter(10)
		var out, errs bytes.Buffer
		for range 12 {
			_, _ = m.writer(&out).Write(make([]byte, size))
			_, _ = m.writer(&errs).Write(make([]byte, size))
		}
		if out.Len()+errs.Len() != 10 || !m.exceeded() {
			t.Errorf("by %d: %d and %d bytes passed, exceeded %v", size, out.Len(), errs.Len(), m.exceeded())
		}
	}
	m := newMeter(10)
	var out bytes.Buffer
	if n, err := m.writer(&out).Write(make([]byte, 10)); n != 10 || err != nil || m.exceeded() {
		t.Errorf("what just fits: %d, %v", n, err)
	}
	if n, err := newMeter(0).writer(&out).Write(make([]byte, 1000)); n != 1000 || err != nil {
		t.Errorf("without a limit: %d, %v", n, err)
	}
}
