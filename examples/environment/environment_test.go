package main

import (
	"strings"
	"testing"
)

func TestList(t *testing.T) {
	var out strings.Builder
	if err := list(&out, []string{"", "a b\n"}, []string{"B=2", "A="}); err != nil {
		t.Fatal(err)
	}
	want := "argument 1 \"\"\nargument 2 \"a b\\n\"\nvariable \"A=\"\nvariable \"B=2\"\n"
	if out.String() != want {
		t.Errorf("listed %q, want %q", out.String(), want)
	}
}
