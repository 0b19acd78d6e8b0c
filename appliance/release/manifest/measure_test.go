package manifest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"phase/appliance/base/names"
)

func TestMeasure(t *testing.T) {
	text := strings.Repeat("phase", 20_000)
	is, err := Measure(t.Context(), iotest.HalfReader(strings.NewReader(text)))
	if err != nil || is != (Artifact{Size: 100_000, SHA256: names.Sum([]byte(text))}) {
		t.Errorf("%+v, %v", is, err)
	}
	if is, err := Measure(t.Context(), strings.NewReader("")); err != nil || is != (Artifact{SHA256: names.Sum(nil)}) {
		t.Errorf("nothing: %+v, %v", is, err)
	}
	if _, err := Measure(t.Context(), iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(text)))); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a reader that fails: %v", err)
	}
	// A source without an end is left when the caller is.
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	reads := 0
	endless := readerFunc(func(p []byte) (int, error) {
		if reads++; reads == 3 {
			cancel(stop)
		}
		return len(p), nil
	})
	if is, err := Measure(ctx, endless); !errors.Is(err, stop) || reads != 3 || is.Size == 0 {
		t.Errorf("%d reads, %d bytes, %v", reads, is.Size, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
