package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"reflect"

	"phase/appliance/base/tool"
	"phase/appliance/compute/worker"
)

// workerPath is where the worker's own program lies in the rootfs, beside the one
// binary, which holds its build id (docs/decisions/2026-11-29-worker-binary.md).
const workerPath = "user/" + worker.File

// workerBuild is the file that holds that id while the rest is compiled.
const workerBuild = "worker.build"

// compileWorker compiles the worker's own program, before gok compiles the one
// binary. Its build id is the SHA-256 of what is linked without one.
func (p Pieces) compileWorker(ctx context.Context, source Source) error {
	to, what := p.path("gok", worker.File), "./programs/"+worker.File
	if err := p.goBuild(ctx, source, to, what, "-buildid="); err != nil {
		return err
	}
	data, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	id := hex.EncodeToString(sum[:])
	if err := os.WriteFile(p.path("gok", workerBuild), []byte(id), 0o644); err != nil {
		return err
	}
	return p.goBuild(ctx, source, to, what, "-buildid="+id)
}

// goBuild compiles a program that gok does not.
func (p Pieces) goBuild(ctx context.Context, source Source, to, what, linkerFlags string) error {
	env, err := goEnvironment(ctx)
	if err != nil {
		return err
	}
	_, err = tool.Command{
		Name: "go", Args: []string{"build", "-tags=gokrazy,netgo,osusergo", "-ldflags=-s -w " + linkerFlags, "-o", to, what},
		Dir: source.Checkout, Env: append(env, "GOFLAGS="+goFlags, "GOOS=linux", "GOARCH="+p.Kernel.GOARCH), Log: source.Log,
	}.Run(ctx)
	return err
}

// workerFlag tells the linker which worker program the one binary starts.
func (p Pieces) workerFlag() (string, error) {
	id, err := os.ReadFile(p.path("gok", workerBuild))
	return "'-X=" + reflect.TypeFor[worker.Process]().PkgPath() + ".Build=" + string(id) + "'", err
}

// addWorker puts the worker's own program into gok's root.
func (p Pieces) addWorker(context.Context, Source) error {
	return os.Rename(p.path("gok", worker.File), p.path("gok", "root", workerPath))
}
