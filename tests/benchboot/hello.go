package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"phase/kernel"
)

const (
	helloPackage = "phase/tests/benchboot/hello"
	helloLine    = `hello: first program`

	// helloBytes is the smallest disk gok lays out in full: two roots of
	// 500 MB behind 104 MB of boot partition, and some persistent room.
	helloBytes = 1258299392
	bootStart  = 8192 * 512 // of the boot partition, see gok's partition table
	bootBytes  = 100 << 20
)

// buildHello has gok pack an image as it comes: gokrazy's own services, the
// init that gok generates, the same kernel as ours and its command line but for
// the ten seconds of rootdelay. One thing stands in: the program is ours, since
// its line must carry the kernel's time; it does as little as gokrazy's.
func buildHello(ctx context.Context, checkout, dir string, k kernel.Kernel) (disk string, err error) {
	if checkout, err = filepath.Abs(checkout); err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	instance := filepath.Join(dir, "hello")
	if err := os.MkdirAll(instance, 0o755); err != nil {
		return "", err
	}
	config, err := json.Marshal(map[string]any{
		"Hostname": "hello", "Packages": []string{helloPackage},
		"Update":        map[string]any{"NoPassword": true, "UseTLS": "off"},
		"KernelPackage": k.Module, "FirmwarePackage": "", "EEPROMPackage": "",
		"SerialConsole": k.Consoles[len(k.Consoles)-1],
		"Environment":   []string{"GOOS=linux", "GOARCH=" + k.GOARCH, "CGO_ENABLED=0"},
	})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(instance, "config.json"), config, 0o644); err != nil {
		return "", err
	}
	// gok builds in the checkout, with a go.mod of its own that it may add
	// gokrazy's requirements to; their versions stand in gokrazy's go.mod.
	if err := os.Symlink(checkout, filepath.Join(instance, "builddir")); err != nil {
		return "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	disk = filepath.Join(dir, "hello.img")
	cmd := exec.CommandContext(ctx, "go", "tool", "gok", "-i", "hello", "--parent_dir", dir, "overwrite",
		"--full", disk, "--target_storage_bytes", fmt.Sprint(helloBytes))
	cmd.Dir = checkout
	flags := strings.TrimSpace(os.Getenv("GOFLAGS") + " '-modfile=" + filepath.Join(dir, "go.mod") + "'")
	cmd.Env = append(os.Environ(), "GOFLAGS="+flags, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("packing hello with gok: %w\n%s", err, out)
	}
	return disk, dropDelay(disk)
}

// dropDelay takes rootdelay off every command line on the boot partition, the
// BIOS loader's and systemd-boot's, and lets the kernel wait for the root
// instead. The length stays.
func dropDelay(disk string) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	boot := make([]byte, bootBytes)
	if _, err := f.ReadAt(boot, bootStart); err != nil && err != io.EOF {
		return fmt.Errorf("reading the boot partition of hello: %w", err)
	}
	for _, at := range delays(boot) {
		if _, err := f.WriteAt([]byte(noDelay), bootStart+at); err != nil {
			return err
		}
	}
	return f.Close()
}

const (
	delay   = "rootdelay=10"
	noDelay = "rootwait    "
)

// delays finds every command line's rootdelay. The kernel itself holds the
// word too, without a number.
func delays(boot []byte) (at []int64) {
	for from := 0; ; {
		i := bytes.Index(boot[from:], []byte(delay))
		if i < 0 {
			return at
		}
		at = append(at, int64(from+i))
		from += i + len(delay)
	}
}
