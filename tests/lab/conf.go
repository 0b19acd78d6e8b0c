package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// WriteConf replaces phase.conf on a disk image by any bytes: what an owner's
// editor, or a broken stick, can leave there.
func WriteConf(ctx context.Context, disk string, conf []byte) error {
	f, err := os.CreateTemp("", "phase.conf-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(conf); err != nil {
		return err
	}
	// The boot partition begins at 1 MiB.
	out, err := exec.CommandContext(ctx, "mcopy", "-o", "-i", disk+"@@1M", f.Name(), "::phase.conf").CombinedOutput()
	if err != nil {
		return fmt.Errorf("writing phase.conf on %s (mcopy, package mtools): %w: %s", disk, err, out)
	}
	return nil
}
