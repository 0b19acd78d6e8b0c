package main

import (
	"os"
	"testing"
)

// How the programs are called is in tests/scripts/phase.txtar.

// Every folder of programs/ but this one is a program that can be called.
func TestEveryProgramIsLinked(t *testing.T) {
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if _, ok := programs[f.Name()]; f.IsDir() && f.Name() != "phase" && !ok {
			t.Errorf("programs/%s is not in the table", f.Name())
		}
	}
}
