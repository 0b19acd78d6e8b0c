package nbd

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

// speak sends a session bytes, and returns what it answers until they end.
func speak(t testing.TB, d *Disk, sent []byte) []byte {
	t.Helper()
	var answer bytes.Buffer
	s := &session{disk: d, power: d.power, r: bufio.NewReader(bytes.NewReader(sent)), w: bufio.NewWriter(&answer)}
	if s.handshake() == nil {
		_ = s.requests() // it ends when the bytes do
	}
	return answer.Bytes()
}

func option(number uint32, data string) []byte {
	b := be.AppendUint64(nil, magicOption)
	b = be.AppendUint32(b, number)
	b = be.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func asked(command uint16, offset uint64, length uint32, data string) []byte {
	b := be.AppendUint32(nil, magicRequest)
	b = be.AppendUint16(b, 0)
	b = be.AppendUint16(b, command)
	b = be.AppendUint64(b, 7)
	b = be.AppendUint64(b, offset)
	b = be.AppendUint32(b, length)
	return append(b, data...)
}

// An older client chooses by name, with zeros after the answer unless it wants
// none; what is not known is refused, and the handshake goes on.
func TestExportName(t *testing.T) {
	d, err := NewDisk(strings.NewReader("0123"), Sector)
	if err != nil {
		t.Fatal(err)
	}
	for flags, answer := range map[byte]int{1: 10 + 124, 3: 10} {
		sent := bytes.Join([][]byte{{0, 0, 0, flags}, option(99, "what"), option(optExportName, "any"), asked(cmdRead, 0, 4, "")}, nil)
		got := speak(t, d, sent)
		if want := 18 + 20 + answer + 16 + 4; len(got) != want || !bytes.HasSuffix(got, []byte("0123")) {
			t.Errorf("flags %d: %d bytes, want %d: %x", flags, len(got), want, got)
		}
		if refused := be.Uint32(got[18+12:]); refused != repErrUnsupported {
			t.Errorf("option 99 is answered by %#x", refused)
		}
	}
}

func TestHandshakeRefuses(t *testing.T) {
	d, err := NewDisk(strings.NewReader(""), Sector)
	if err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string][]byte{
		"old newstyle":  {0, 0, 0, 0},
		"unknown flags": {0, 0, 0, 7},
		"bad magic":     append([]byte{0, 0, 0, 3}, make([]byte, 16)...),
		"abort":         append([]byte{0, 0, 0, 3}, option(optAbort, "")...),
	} {
		var answer bytes.Buffer
		s := &session{disk: d, power: d.power, r: bufio.NewReader(bytes.NewReader(sent)), w: bufio.NewWriter(&answer)}
		if err := s.handshake(); err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	for data, valid := range map[string]bool{
		"": false, "\x00\x00\x00\x00\x00\x00": true, "\x00\x00\x00\x01a\x00\x01\x00\x03": true,
		"\x00\x00\x00\x02a\x00\x00": false, "\xff\xff\xff\xff\x00\x00": false, "\x00\x00\x00\x00\x00\x01": false,
	} {
		if validInfo([]byte(data)) != valid {
			t.Errorf("%q: valid is %v", data, !valid)
		}
	}
}

// FuzzSession: whatever a client sends, the session ends with it, and what
// follows the greeting is no more than was asked for.
func FuzzSession(f *testing.F) {
	f.Add(bytes.Join([][]byte{{0, 0, 0, 3}, option(optGo, "\x00\x00\x00\x00\x00\x00"), asked(cmdWrite, 0, 512, strings.Repeat("x", 512)),
		asked(cmdFlush, 0, 0, ""), asked(cmdTrim, 0, 512, ""), asked(cmdRead, 0, 512, ""), asked(cmdDisconnect, 0, 0, "")}, nil))
	f.Add(bytes.Join([][]byte{{0, 0, 0, 3}, option(optList, ""), option(optInfo, "\x00\x00\x00\x01a\x00\x01\x00\x03"), option(optAbort, "")}, nil))
	f.Fuzz(func(t *testing.T, sent []byte) {
		d, err := NewDisk(strings.NewReader(""), 64*Sector)
		if err != nil {
			t.Fatal(err)
		}
		got := speak(t, d, sent)
		if most := 18 + 16*len(sent) + (len(sent)/requestBytes)*int(d.Size()); len(got) > most {
			t.Errorf("%d bytes are answered by %d", len(sent), len(got))
		}
	})
}
