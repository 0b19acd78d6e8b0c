package worker

import (
	"context"
	"os"
	"testing"
)

// TestMain: Start starts this binary as its worker, as it starts plasmd.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(Main(context.Background()))
	}
	os.Exit(m.Run())
}
