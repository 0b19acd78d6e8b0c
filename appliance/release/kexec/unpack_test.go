package kexec

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"phase/appliance/base/refusal"

	"github.com/klauspost/compress/zstd"
)

func TestUnpack(t *testing.T) {
	kernel := append([]byte("MZ"), bytes.Repeat([]byte("kernel "), 100_000)...)
	var z, g bytes.Buffer
	zw, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	gw := gzip.NewWriter(&g)
	for _, w := range []io.WriteCloser{zw, gw} {
		if _, err := w.Write(kernel); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, packed := range map[string][]byte{"raw": kernel, "zstd": z.Bytes(), "gzip": g.Bytes()} {
		var out bytes.Buffer
		if n, err := Unpack(&out, bytes.NewReader(packed)); err != nil || n != int64(len(kernel)) || !bytes.Equal(out.Bytes(), kernel) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if name != "raw" {
			if _, err := Unpack(io.Discard, bytes.NewReader(packed[:len(packed)/2])); err == nil {
				t.Errorf("half a %s kernel is unpacked", name)
			}
		}
	}
	if _, err := Unpack(io.Discard, strings.NewReader("MZ")); err == nil {
		t.Error("2 bytes are a kernel")
	}
}

// A bomb is cut off at the cap, not when memory is full.
func TestUnpackBomb(t *testing.T) {
	var bomb bytes.Buffer
	w, err := zstd.NewWriter(&bomb, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, maxKernel+2); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(io.Discard, bytes.NewReader(bomb.Bytes())); refusal.CodeOf(err) != refusal.Size {
		t.Errorf("a kernel of %d bytes that grows to %d: %v", bomb.Len(), maxKernel+2, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzUnpack states: whatever the bytes, no more than the cap comes out.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, _ := Unpack(io.Discard, bytes.NewReader(data)); n > maxKernel+1 {
			t.Errorf("%d bytes came out of %d", n, len(data))
		}
	})
}
