package scheduler

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"phase/appliance/compute/worker"
)

// wordWalls makes this binary print the walls around a worker of its own.
const wordWalls = "walls"

// useWorker builds the worker's own program beside this binary, as `make build`
// does beside phase, and has all tests of this package run modules in it. The race
// detector is to see workers too: there this binary is its own.
func useWorker() (remove func(), err error) {
	own, err := os.Executable()
	if err != nil || slower > 1 {
		return func() {}, err
	}
	path := filepath.Join(filepath.Dir(own), worker.File)
	const build = "phase-worker-of-the-tests-of-scheduler"
	cmd := exec.Command("go", "build", "-ldflags=-s -w -buildid="+build, "-o", path, "phase/programs/"+worker.File)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the worker: %w: %s", err, out)
	}
	worker.Build = build
	return func() { os.Remove(path) }, nil
}

func printWalls() {
	p, err := worker.Start(context.Background(), nil, nil)
	if err != nil {
		panic(err)
	}
	fmt.Print(p.Walls())
	p.End()
}

// The worker's own program is what runs, and builds the walls that the one binary
// builds where it is its own worker.
func TestWallsOfBothWorkers(t *testing.T) {
	if worker.Build == "" {
		t.Skip("under the race detector this binary is its own worker")
	}
	p, err := worker.Start(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.End()
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID()))
	if err != nil || filepath.Base(exe) != worker.File {
		t.Errorf("the worker runs %s, %v", exe, err)
	}
	out, err := exec.Command("/proc/self/exe", wordWalls).CombinedOutput()
	if want := fmt.Sprint(p.Walls()); err != nil || string(out) != want {
		t.Errorf("the walls are %s, and those of the one binary %s, %v", want, out, err)
	}
}
