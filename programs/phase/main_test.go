package main

import (
	"os"
	"testing"

	"phase/appliance/compute/worker"
)

// How the programs are called is in tests/scripts/phase.txtar.

// Every folder of programs/ but this one and the worker's is a program that can be
// called.
func TestEveryProgramIsLinked(t *testing.T) {
	folders, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if _, ok := programs[f.Name()]; f.IsDir() && f.Name() != "phase" && f.Name() != worker.File && !ok {
			t.Errorf("programs/%s is not in the table", f.Name())
		}
	}
}
