// Command phase-worker is the process in which plasmd runs modules. It links what
// that takes and nothing else, so that it starts in a third of the time that phase
// takes (docs/decisions/2026-11-29-worker-binary.md).
package main

import (
	"context"
	"os"

	"phase/appliance/compute/worker/inside"
)

func main() { os.Exit(inside.Main(context.Background())) }
