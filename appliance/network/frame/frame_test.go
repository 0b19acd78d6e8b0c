package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

type head struct {
	Type  string `json:"type"`
	Bytes int64  `json:"bytes,omitempty"`
}

func (h *head) Raw() int64 { return h.Bytes }

// stream is a connection as a Stream.
type stream struct{ *net.TCPConn }

func (s stream) Reset() error { return s.Close() }

// pair is two ends of a connection.
func pair(t *testing.T) (a, b *Conn, raw net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	one, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	two, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		one.Close()
		two.Close()
	})
	return New(stream{one.(*net.TCPConn)}, time.Second), New(stream{two.(*net.TCPConn)}, time.Second), one
}

func TestFramesPass(t *testing.T) {
	a, b, _ := pair(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 3*Piece/16)
	for _, raw := range [][]byte{nil, []byte("x"), large[:Piece], large} {
		sent := make(chan error, 1)
		go func() { sent <- a.Send(head{"data", int64(len(raw))}, raw) }()
		var h head
		if err := b.Next(&h, time.Minute); err != nil || h.Type != "data" || b.Left() != int64(len(raw)) {
			t.Fatal(h, err)
		}
		if got, err := b.Bytes(1 << 20); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%d bytes of %d came: %v", len(got), len(raw), err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	go a.Finish(time.Minute)
	var h head
	if err := b.Next(&h, time.Minute); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ sent, says string }{
		"no header":        {"\x00\x00\x00\x00", "0 bytes"},
		"too large":        {"\x00\x01\x00\x01" + strings.Repeat(" ", 10), "65537 bytes, 1 to 65536"},
		"huge":             {"\xff\xff\xff\xff", "4294967295"},
		"no JSON":          {"\x00\x00\x00\x03abc", "protocol"},
		"twice":            {"\x00\x00\x00\x19" + `{"type":"a","type":"bcd"}`, "duplicate"},
		"another case":     {"\x00\x00\x00\x0c" + `{"Type":"a"}`, "case"},
		"negative":         {"\x00\x00\x00\x17" + `{"type":"a","bytes":-1}`, "less than no"},
		"beyond a double":  {"\x00\x00\x00\x27" + `{"type":"a","bytes":9007199254740993  }`, "2^53"},
		"more than is due": {"\x00\x00\x00\x18" + `{"type":"a","bytes":100}`, "100 bytes behind a frame, at most 99"},
	} {
		a, b, raw := pair(t)
		if _, err := raw.Write([]byte(c.sent)); err != nil {
			t.Fatal(err)
		}
		_ = a
		var h head
		err := b.Next(&h, time.Minute)
		if err == nil {
			_, err = b.Bytes(99)
		}
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every wait ends.
func TestDeadlines(t *testing.T) {
	a, b, raw := pair(t)
	var h head
	if err := b.Next(&h, time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing came: %v", err)
	}
	if _, err := raw.Write([]byte("\x00\x00\x00\x16" + `{"type":"a","bytes":5}` + "1234")); err != nil {
		t.Fatal(err)
	}
	if err := b.Next(&h, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Bytes(5); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a byte is missing: %v", err)
	}
	if err := b.Next(&h, time.Minute); !errors.Is(err, ErrProtocol) {
		t.Errorf("a frame is read though the last one is not over: %v", err)
	}
	var err error
	for err == nil { // nobody reads
		err = a.Send(head{"data", 1 << 20}, make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing to who does not read: %v", err)
	}
	if err := a.Send(head{Type: strings.Repeat("x", MaxHeader)}, nil); err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("a header that is too large: %v", err)
	}
}

// What is announced and does not come takes no memory, and what comes steadily has
// to have come by the limit.
func TestWhatDoesNotCome(t *testing.T) {
	a, b, _ := pair(t)
	if err := a.Send(head{"data", 1 << 30}, []byte("a little")); err != nil {
		t.Fatal(err)
	}
	var h head
	if err := b.Next(&h, time.Minute); err != nil {
		t.Fatal(err)
	}
	b.Limit = time.Now().Add(10 * time.Millisecond)
	b.patience = time.Hour
	data, err := b.Bytes(1 << 30)
	if !errors.Is(err, os.ErrDeadlineExceeded) || cap(data) > Piece {
		t.Errorf("%v, and %d bytes of memory", err, cap(data))
	}
	b.left = 0
	if err := b.Next(&h, time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a header beyond the limit: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{`{"type":"offer","bytes":3}`, `{"type":"a","Type":"b"}`, `[]`, `null`, ``} {
		f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	}
	f.Add([]byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var h head
		if err := read(bytes.NewReader(data), &h); err == nil && (h.Bytes < 0 || h.Bytes > 1<<53) {
			t.Errorf("%+v", h)
		}
	})
}
