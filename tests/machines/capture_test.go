package machines

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"phase/qemu"
	"phase/tests/netlab"
)

// captured is what crossed a segment, each frame once.
type captured []netlab.Frame

// capture begins to keep all frames of a segment. The returned function ends
// that and returns them; they are in build/tests too, as name.pcap.
func capture(t *testing.T, s *qemu.Segment, name string) func() captured {
	t.Helper()
	var pcap bytes.Buffer
	stop, err := s.Capture(&pcap)
	if err != nil {
		t.Fatal(err)
	}
	return func() (all captured) {
		t.Helper()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(build(), "tests", t.Name())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".pcap"), pcap.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		const fileHead, frameHead = 24, 16
		for rest := pcap.Bytes()[fileHead:]; len(rest) > 0; {
			length := binary.LittleEndian.Uint32(rest[8:])
			all = append(all, netlab.Frame{Data: rest[frameHead : frameHead+length]})
			rest = rest[frameHead+length:]
		}
		return all
	}
}

// with returns a line about the first frame that holds text anywhere, "" when
// none does.
func (c captured) with(text []byte) string {
	for _, f := range c {
		if bytes.Contains(f.Data, text) {
			return f.String()
		}
	}
	return ""
}
