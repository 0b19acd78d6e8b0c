package bar

import (
	"bytes"
	"testing"
)

func TestSilentOffATerminal(t *testing.T) {
	var b bytes.Buffer
	bar := Start(&b, "fetch", 10)
	bar.Add(5)
	bar.Set(10)
	bar.Close()
	if b.Len() != 0 {
		t.Errorf("a bar wrote %q to a buffer", b.String())
	}
}
