package worker

import (
	"context"
	"os"
	"testing"

	"phase/appliance/compute/worker/inside"
)

// TestMain: Start starts this binary as its worker, as it starts plasmd.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(inside.Main(context.Background()))
	}
	os.Exit(m.Run())
}
