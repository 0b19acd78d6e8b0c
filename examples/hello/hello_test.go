package main

import (
	"bytes"
	"testing"
)

func TestReverse(t *testing.T) {
	for in, want := range map[string]string{
		"":           "",
		"\n":         "\n",
		"Phase\n":    "esahP\n",
		"ab\n\n":     "\nba\n",
		"Grüße, 世界":  "界世 ,eßürG",
		"a\xff\xfeb": "b\xfe\xffa",
	} {
		var out bytes.Buffer
		if err := reverse(&out, []byte(in)); err != nil || out.String() != want {
			t.Errorf("reverse(%q) = %q, %v; want %q", in, out.String(), err, want)
		}
	}
}
