package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"phase/images"
	"phase/qemu"
)

// Bare is what a machine without a disk is started with, as a network boot
// loader would have brought it: a kernel, and the signed initramfs with the
// whole release in a second archive behind it.
type Bare struct{ Kernel, Initrd, Cmdline string }

// Bare lays a release out for machines without a disk. Settings are words for
// the command line ("phase.mode=local").
func (l *Lab) Bare(r Release, settings ...string) (Bare, error) {
	dir, err := os.MkdirTemp(l.Dir, fmt.Sprintf("bare-%d-", r.Manifest.Version))
	if err != nil {
		return Bare{}, err
	}
	if err := images.Netboot(l.Pieces.Kernel, r.Result, dir); err != nil {
		return Bare{}, fmt.Errorf("laying out version %d for machines without a disk: %w", r.Manifest.Version, err)
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, images.NetbootCmdline))
	if err != nil {
		return Bare{}, err
	}
	return Bare{
		Kernel:  filepath.Join(dir, images.NetbootKernel),
		Initrd:  filepath.Join(dir, images.NetbootInitrd),
		Cmdline: strings.Join(append([]string{strings.TrimSpace(string(cmdline))}, settings...), " "),
	}, nil
}

// Config adds the machine's firmware to the rest of its description.
func (b Bare) Config(c qemu.Config) qemu.Config {
	c.Firmware, c.Kernel, c.Initrd, c.Cmdline = qemu.Bare, b.Kernel, b.Initrd, b.Cmdline
	return c
}

// Jumped waits until a node, after the event given, has jumped into version
// and is a whole node again. It returns the lines that say so.
func (n *Node) Jumped(ctx context.Context, after qemu.Event, version uint64) (jump, serving qemu.Event, err error) {
	if _, jump, err = n.Line(ctx, after, JumpInto(version)); err != nil {
		return jump, serving, err
	}
	if _, err = n.Up(ctx, jump, version); err != nil {
		return jump, serving, err
	}
	_, serving, err = n.Line(ctx, jump, LineServing)
	return jump, serving, err
}
