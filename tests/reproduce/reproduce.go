package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/images"
	"phase/kernel"
)

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var line struct {
		Arch  []string `short:"A" default:"x86_64" help:"x86_64 or arm64; both with a comma between."`
		Keys  string   `short:"k" type:"path" help:"Folder of the release key and the roots (default: new ones)." placeholder:"DIR"`
		Tools string   `short:"t" type:"path" help:"Folder of another Debian, whose file-system tools the second build uses (default: those of this machine)." placeholder:"DIR"`
		Keep  bool     `help:"Leave what was built where it is."`
	}
	if _, err := program.Parse("reproduce", "Build a commit twice, as unlike as can be, and compare every byte.", &line, args, stdout, stderr); err != nil {
		return err
	}
	for _, arch := range line.Arch {
		if _, err := kernel.For(arch); err != nil {
			return program.Usagef("--arch: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "phase-reproduce-")
	if err != nil {
		return err
	}
	if line.Keep {
		fmt.Fprintln(stderr, "what is built stays in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	both, err := prepare(ctx, dir, line.Keys, line.Tools, stderr)
	if err != nil {
		return err
	}
	for i, c := range both {
		fmt.Fprintf(stderr, "build %d: %s, in %s\n", i+1, c.about, c.checkout)
		for _, arch := range line.Arch {
			began := time.Now()
			args := []string{"build", "--arch", arch, "--out", c.out, "--keys", filepath.Join(c.out, "keys")}
			if arch == "arm64" {
				args = append(args, "--board", "rpi")
			}
			if err := c.images(ctx, args...); err != nil {
				return err
			}
			fmt.Fprintf(stderr, "build %d: %s in %s\n", i+1, arch, ui.Duration(time.Since(began)))
		}
	}
	// What others are made from comes first.
	compared := []string{"pieces", "release"}
	for _, arch := range line.Arch {
		compared = append(compared, "phase-"+arch+".img", "phase-"+arch+".qcow2")
	}
	if slices.Contains(line.Arch, "arm64") {
		compared = append(compared, "phase-arm64-rpi.img")
	}
	results, err := compare(both[0].out, both[1].out, compared...)
	if err != nil {
		return err
	}
	if err := report(stdout, results); err != nil {
		return err
	}
	return differences(results)
}

// report prints what is released, and whatever differs.
func report(w io.Writer, results []result) error {
	rows := [][]string{{"file", "sha256", ""}}
	for _, r := range results {
		if r.differ == "" && strings.HasPrefix(r.name, "pieces/") {
			continue
		}
		said := r.differ
		if said == "" {
			said = "the same"
		}
		rows = append(rows, []string{r.name, r.sha256, said})
	}
	return ui.Table(w, rows)
}

// prepare clones HEAD of this checkout twice and says how each is to be built.
func prepare(ctx context.Context, dir, keys, tools string, stderr io.Writer) (both [2]conditions, err error) {
	if err := os.Chmod(dir, 0o755); err != nil { // another user goes through it
		return both, err
	}
	if changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output(); err != nil {
		return both, fmt.Errorf("asking git what HEAD is: %w", err)
	} else if len(changed) > 0 {
		fmt.Fprintln(stderr, "reproduce: what is not committed is not built")
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "elsewhere", "two")
	for _, at := range []string{one, two} {
		if err := clone(ctx, filepath.Join(at, "phase")); err != nil {
			return both, err
		}
		if keys == "" {
			keys = filepath.Join(dir, "keys")
			if _, err := images.MakeKeys(keys, rand.Reader, time.Now()); err != nil {
				return both, err
			}
		}
		if err := copyTree(keys, filepath.Join(at, "out", "keys")); err != nil {
			return both, fmt.Errorf("taking the keys: %w", err)
		}
	}
	var first []string
	if tools != "" {
		wrapped := filepath.Join(two, "tools")
		if err := wrap(tools, wrapped); err != nil {
			return both, fmt.Errorf("the tools in %s: %w", tools, err)
		}
		first = append(first, wrapped)
	}
	both[0] = usual(filepath.Join(one, "phase"), filepath.Join(one, "out"))
	if both[1], err = unusual(filepath.Join(two, "phase"), filepath.Join(two, "out"), two, first); err != nil {
		return both, err
	}
	if tools != "" {
		both[1].about += ", with the tools in " + tools
	}
	if os.Geteuid() == 0 {
		err = both[1].asNobody(ctx, two)
	}
	return both, err
}

// copyTree copies files with their permissions, as keys need theirs.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(to, below), 0o755))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, below), data, info.Mode().Perm())
	})
}

func clone(ctx context.Context, to string) error {
	out, err := exec.CommandContext(ctx, "git", "clone", "--quiet", "--no-hardlinks", ".", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cloning HEAD: %w: %s", err, out)
	}
	return nil
}

// wrap makes a folder of programs that run those of another Debian, unpacked in
// root, with its own libraries.
func wrap(root, to string) error {
	find := func(names ...string) (string, error) {
		for _, name := range names {
			if at := filepath.Join(root, name); exists(at) {
				return at, nil
			}
		}
		return "", fmt.Errorf("there is none of %s", strings.Join(names, ", "))
	}
	loader, err := find("usr/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range images.ToolNames() {
		at, err := find("usr/bin/"+name, "usr/sbin/"+name, "bin/"+name, "sbin/"+name)
		if err != nil {
			return err
		}
		libraries := filepath.Join(root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "lib/x86_64-linux-gnu")
		script := fmt.Sprintf("#!/bin/sh\nexec %s --argv0 %s --library-path %s %s \"$@\"\n", quote(loader), name, quote(libraries), quote(at))
		if err := os.WriteFile(filepath.Join(to, name), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// quote is a word for the shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
