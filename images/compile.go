package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/tool"
	"phase/kernel"
)

// Source is what to compile.
type Source struct {
	Checkout string // the folder of go.mod
	Arch     string // x86_64 or arm64
	Board    string // whose firmware and kernel are taken too; "" for none
	Name     string // what --version answers
	Time     time.Time
	// Time is that of every file in the rootfs and the initramfs.

	Dir string    // where the pieces go
	Log io.Writer // what gok and the compiler say; nil: only when they fail
}

// Compile runs gok for one arch, builds the initramfs, and leaves the pieces of
// a release in source.Dir.
func Compile(ctx context.Context, source Source) (Pieces, error) {
	k, err := kernel.For(source.Arch)
	if err != nil {
		return Pieces{}, err
	}
	if source.Checkout, err = filepath.Abs(source.Checkout); err != nil {
		return Pieces{}, err
	}
	if source.Dir, err = filepath.Abs(source.Dir); err != nil {
		return Pieces{}, err
	}
	p := Pieces{Dir: source.Dir, Kernel: k, Time: source.Time}
	for _, step := range []struct {
		what string
		do   func(context.Context, Source) error
	}{
		{"clearing the old pieces", p.clear},
		{"compiling the worker", p.compileWorker},
		{"packing with gok", p.gok},
		{"unpacking the root that gok made", p.unpackRoot},
		{"adding the worker", p.addWorker},
		{"keeping what the root should hold", p.keepRoot},
		{"taking the boot loaders from gok", p.takeLoaders},
		{"taking the kernel", p.takeKernel},
		{"taking the firmware of the board", p.takeBoard},
		{"building the initramfs", p.buildInitramfs},
		{"formatting the persistent partition", p.formatPerm},
		{"noting what they were made from", p.noteOrigin},
		{"describing the pieces", p.describe},
	} {
		if err := step.do(ctx, source); err != nil {
			return Pieces{}, fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return p, nil
}

func (p Pieces) clear(context.Context, Source) error {
	if err := os.RemoveAll(p.Dir); err != nil {
		return err
	}
	return os.MkdirAll(p.Dir, 0o755)
}

// gok runs the packer on a copy of config.json. It wants the module of every
// package in a folder of its own; ours is a link to the checkout, so that there
// is one go.mod and one go.sum, and no path of this machine gets into the build
// information, as a replace directive would put it there. gok makes Go free to
// change go.mod (-mod=mod), so Go gets a copy of it, which must come back with
// the same versions.
func (p Pieces) gok(ctx context.Context, source Source) error {
	worker, err := p.workerFlag()
	if err != nil {
		return err
	}
	config, err := instanceConfig(source, p.Kernel, worker)
	if err != nil {
		return err
	}
	if err := replaceWith(p.path("gok", "phase", "config.json"), config); err != nil {
		return err
	}
	if err := os.Symlink(source.Checkout, p.path("gok", "phase", "builddir")); err != nil {
		return err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := copyFile(filepath.Join(source.Checkout, name), p.path("gok", name), io.Copy); err != nil {
			return err
		}
	}
	args := []string{"tool", "gok", "-i", "phase", "--parent_dir", p.path("gok"), "overwrite",
		"--root", p.path("gok", "root.squashfs"), "--boot", p.path("gok", "boot.fat"), "--mbr", p.path("gok", "mbr.img")}
	env, err := goEnvironment(ctx)
	if err != nil {
		return err
	}
	env = append(env, "GOFLAGS="+goFlags+" '-modfile="+p.path("gok", "go.mod")+"'")
	_, err = tool.Command{Name: "go", Args: args, Dir: source.Checkout, Env: env, Log: source.Log}.Run(ctx)
	if err != nil {
		return err
	}
	return p.checkPins(ctx, source)
}

// goFlags are those of every build; others that a user has set do not count.
const goFlags = "-buildvcs=false -trimpath"

// goEnvironment is what Go commands that compile take from their user: where
// modules and toolchains come from, and the caches. Nothing else that is set, in
// the file of go env -w either: GOAMD64 and others change what is compiled.
func goEnvironment(ctx context.Context) ([]string, error) {
	from := []string{"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH", "GOTOOLCHAIN", "GOPATH", "GOCACHE", "GOMODCACHE"}
	out, err := tool.Command{Name: "go", Args: append([]string{"env", "-json"}, from...)}.Run(ctx)
	if err != nil {
		return nil, err
	}
	var values map[string]string
	if err := json.Unmarshal(out, &values); err != nil {
		return nil, fmt.Errorf("reading what go says of its environment: %w", err)
	}
	env := []string{"GOENV=off", "CGO_ENABLED=0"}
	for _, name := range from {
		env = append(env, name+"="+values[name])
	}
	return env, nil
}

// instanceConfig is the checkout's config.json with what depends on the arch
// and the release; worker is a flag for the linker.
func instanceConfig(source Source, k kernel.Kernel, worker string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(source.Checkout, "config.json"))
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("reading config.json: %w", err)
	}
	config["KernelPackage"] = k.Module
	config["Environment"] = []string{"GOOS=linux", "GOARCH=" + k.GOARCH, "CGO_ENABLED=0"}
	packages, ok := config["PackageConfig"].(map[string]any)
	if !ok {
		return nil, errors.New("config.json has no PackageConfig")
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		p, _ := packages[name].(map[string]any)
		flags, _ := p["GoBuildFlags"].([]any)
		linked := false
		for i, flag := range flags {
			if text, ok := flag.(string); ok && strings.HasPrefix(text, "-ldflags=") {
				flags[i], linked = text+" "+versionFlag(source.Name)+" "+worker, true
			}
		}
		if !linked {
			return nil, fmt.Errorf("config.json: package %s has no -ldflags, so its binary would name this build", name)
		}
	}
	return json.MarshalIndent(config, "", "    ")
}

// versionFlag tells the linker what --version answers. The linker says nothing
// of a variable that is not there, so the package is asked for its own path.
func versionFlag(name string) string {
	return "'-X=" + reflect.TypeFor[program.Exit]().PkgPath() + ".Version=" + strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '\'' {
			return '-'
		}
		return r
	}, name) + "'"
}

// checkPins refuses an image out of anything that go.mod does not name.
func (p Pieces) checkPins(ctx context.Context, source Source) error {
	before, err := requirements(ctx, filepath.Join(source.Checkout, "go.mod"))
	if err != nil {
		return err
	}
	after, err := requirements(ctx, p.path("gok", "go.mod"))
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] != after[path] {
			return fmt.Errorf("go.mod does not pin %s %s, which the image needs: run 'go mod tidy' and commit it", path, after[path])
		}
	}
	return nil
}

// requirements are the versions a go.mod names, and what it replaces them by.
func requirements(ctx context.Context, file string) (map[string]string, error) {
	out, err := tool.Command{Name: "go", Args: []string{"mod", "edit", "-json", file}}.Run(ctx)
	if err != nil {
		return nil, err
	}
	type module struct{ Path, Version string }
	var mod struct {
		Require []module
		Replace []struct{ Old, New module }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	pins := map[string]string{}
	for _, r := range mod.Require {
		pins[r.Path] = r.Version
	}
	for _, r := range mod.Replace {
		pins[r.Old.Path] += " => " + r.New.Path + " " + r.New.Version
	}
	return pins, nil
}
