package history

import (
	"os"
	"testing"
)

// TestMain: Open starts this binary to check a file, as it starts plasmd.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == CheckCommand {
		os.Exit(CheckMain(os.Args[2], os.Stderr))
	}
	os.Exit(m.Run())
}
