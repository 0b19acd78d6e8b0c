package main

import "testing"

func TestDelays(t *testing.T) {
	if len(delay) != len(noDelay) {
		t.Fatal("a command line would grow or shrink")
	}
	boot := []byte("xx rootdelay=10 ro\x00rootdelay=\x00options rootdelay=10")
	if got := delays(boot); len(got) != 2 || got[0] != 3 || got[1] != 38 {
		t.Errorf("found at %v", got)
	}
}
