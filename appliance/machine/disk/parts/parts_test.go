package parts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func Example() {
	image, err := New(12, Part{8, 3, strings.NewReader("end")}, Part{1, 4, strings.NewReader("begin")})
	if err != nil {
		panic(err)
	}
	all, err := io.ReadAll(io.NewSectionReader(image, 0, image.Size()))
	fmt.Printf("%q %v\n", all, err)
	// Output: "\x00begi\x00\x00\x00end\x00" <nil>
}

// Any piece of an image is what the same piece of the whole is.
func TestReadAt(t *testing.T) {
	whole := make([]byte, 100)
	var list []Part
	for _, at := range []int64{0, 10, 20, 55} {
		text := bytes.Repeat([]byte{byte(at + 1)}, 10)
		list = append(list, Part{at, 10, bytes.NewReader(text)})
		copy(whole[at:], text)
	}
	image, err := New(100, append(list, Part{70, 0, nil})...)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		for size := range 100 {
			got := bytes.Repeat([]byte{0xFF}, size)
			n, err := image.ReadAt(got, int64(at))
			want := whole[at:min(at+size, 100)]
			if !bytes.Equal(got[:n], want) || (err == io.EOF) != (at+size > 100) {
				t.Fatalf("%d bytes from %d: %v, %v; want %v", size, at, got[:n], err, want)
			}
		}
	}
	if err := iotest.TestReader(io.NewSectionReader(image, 0, 100), whole); err != nil {
		t.Error(err)
	}
	if moved := image.Parts(5); moved[1].Start != 15 || image.parts[1].Start != 10 {
		t.Error(moved)
	}
}

func TestRefusals(t *testing.T) {
	for _, list := range [][]Part{{{0, 11, nil}}, {{-1, 2, nil}}, {{0, 5, nil}, {4, 1, nil}}, {{5, -1, nil}}, {{1 << 62, 1 << 62, nil}}} {
		if _, err := New(10, list...); err == nil {
			t.Errorf("%v was taken", list)
		}
	}
	image, err := New(10, Part{2, 6, strings.NewReader("short")})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := image.ReadAt(make([]byte, 10), 0); n != 7 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(n, err)
	}
}
