package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/machine/initrd"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
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
	b := Bare{
		Kernel:  filepath.Join(dir, "kernel"),
		Initrd:  filepath.Join(dir, "initrd"),
		Cmdline: strings.Join(append([]string{r.Manifest.Cmdline, l.Pieces.Kernel.ConsoleArgs()}, settings...), " "),
	}
	if err := r.writeKernel(b.Kernel); err != nil {
		return Bare{}, fmt.Errorf("unpacking the kernel of version %d: %w", r.Manifest.Version, err)
	}
	if err := r.writeInitrd(b.Initrd); err != nil {
		return Bare{}, fmt.Errorf("writing the initrd of version %d: %w", r.Manifest.Version, err)
	}
	return b, nil
}

// Config adds the machine's firmware to the rest of its description.
func (b Bare) Config(c qemu.Config) qemu.Config {
	c.Firmware, c.Kernel, c.Initrd, c.Cmdline = qemu.Bare, b.Kernel, b.Initrd, b.Cmdline
	return c
}

// writeKernel leaves the kernel as firmware takes it: not compressed.
func (r Release) writeKernel(to string) error {
	from, err := os.Open(r.File("kernel"))
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = kexec.Unpack(f, from)
	return errors.Join(err, f.Close())
}

// writeInitrd puts the initramfs first and every file of the release behind it,
// as a jump does.
func (r Release) writeInitrd(to string) error {
	files := []initrd.File{{Name: layout.InInitrd(layout.ManifestFile), Size: int64(len(r.Envelope))}}
	for name, a := range r.Manifest.Artifacts {
		files = append(files, initrd.File{Name: layout.InInitrd(layout.FileName(name)), Size: a.Size})
	}
	layout, err := initrd.NewLayout(r.Manifest.Artifacts["initramfs"].Size, files)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(layout.Size()); err != nil {
		return err
	}
	if err := copyTo(f, 0, r.File("initramfs")); err != nil {
		return err
	}
	for _, file := range files {
		at, _, _ := layout.Offset(file.Name)
		if err := copyTo(f, at, filepath.Join(r.Folder, filepath.Base(file.Name))); err != nil {
			return err
		}
	}
	return errors.Join(layout.WriteFrame(f), f.Close())
}

func copyTo(f *os.File, at int64, file string) error {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(io.NewOffsetWriter(f, at), from)
	return err
}

// Jumped waits until a node, after the event given, has jumped into version
// and is a whole node again. It returns the lines that say so.
func (n *Node) Jumped(ctx context.Context, after qemu.Event, version uint64) (jump, serving qemu.Event, err error) {
	if _, jump, err = n.Line(ctx, after, fmt.Sprintf(`update: jumping into version %d\b`, version)); err != nil {
		return jump, serving, err
	}
	if _, err = n.Up(ctx, jump, version); err != nil {
		return jump, serving, err
	}
	_, serving, err = n.Line(ctx, jump, LineServing)
	return jump, serving, err
}
