package images

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"phase/appliance/machine/initrd"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
	"phase/kernel"
)

// Files of a netboot set.
const (
	NetbootKernel  = "vmlinuz"     // as firmware and boot loaders start it
	NetbootInitrd  = "initrd"      // the initramfs, with all of the release behind it
	NetbootCmdline = "cmdline.txt" // one line, to which settings may be added
	netbootScript  = "boot.ipxe"
)

// Netboot lays a release out for boot loaders that get it from a network: a
// kernel, one initrd, which brings the release along as a jump does, the
// command line, and a script for iPXE that names them. The same release gives
// the same bytes.
func Netboot(k kernel.Kernel, r Result, dir string) error {
	cmdline := r.Manifest.Cmdline + " " + k.ConsoleArgs()
	// EFI kernels find their initrd by the name on the command line.
	script := fmt.Sprintf("#!ipxe\n# %s\n# Settings, such as phase.mode=local, go to the end of the next line.\nkernel %s initrd=%s %s\ninitrd %s\nboot\n",
		headline(r.Manifest, r.Digest), NetbootKernel, NetbootInitrd, cmdline, NetbootInitrd)
	unpack := func(w io.Writer, from io.Reader) (int64, error) { return kexec.Unpack(w, from) }
	return errors.Join(
		copyFile(filepath.Join(r.Folder, layout.FileName("kernel")), filepath.Join(dir, NetbootKernel), unpack),
		replace(filepath.Join(dir, NetbootInitrd), r.writeInitrd),
		replaceWith(filepath.Join(dir, NetbootCmdline), []byte(cmdline+"\n")),
		replaceWith(filepath.Join(dir, netbootScript), []byte(script)),
	)
}

// writeInitrd puts the initramfs first, and every file of the release behind it.
func (r Result) writeInitrd(f *os.File) error {
	files := []initrd.File{{Name: layout.InInitrd(layout.ManifestFile), Size: int64(len(r.Envelope))}}
	for _, name := range slices.Sorted(maps.Keys(r.Manifest.Artifacts)) {
		files = append(files, initrd.File{Name: layout.InInitrd(layout.FileName(name)), Size: r.Manifest.Artifacts[name].Size})
	}
	plan, err := initrd.NewLayout(r.Manifest.Artifacts["initramfs"].Size, files)
	if err != nil {
		return err
	}
	if err := f.Truncate(plan.Size()); err != nil {
		return err
	}
	if err := copyTo(f, 0, filepath.Join(r.Folder, layout.FileName("initramfs"))); err != nil {
		return err
	}
	for _, file := range files {
		at, _, _ := plan.Offset(file.Name)
		if err := copyTo(f, at, filepath.Join(r.Folder, filepath.Base(file.Name))); err != nil {
			return err
		}
	}
	return plan.WriteFrame(f)
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
