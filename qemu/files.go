package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/tool"
)

// Binary is the name of the emulator for an architecture.
func Binary(arch string) string {
	if arch == ARM64 {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// Available says whether machines of an architecture and firmware can be started here; its error says what to install.
func Available(arch string, fw Firmware) error {
	for _, name := range []string{Binary(arch), "qemu-img"} {
		if _, err := tool.Find(name); err != nil {
			return err
		}
	}
	if fw == UEFI {
		_, _, err := uefi(arch)
		return err
	}
	return nil
}

// uefi finds Debian's firmware: the code, and the empty variable store that belongs to it.
func uefi(arch string) (code, vars string, err error) {
	code, vars = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	if arch == ARM64 {
		code, vars = "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"
	}
	for _, f := range []string{code, vars} {
		if _, err := os.Stat(f); err != nil {
			return "", "", tool.Missing(filepath.Base(code))
		}
	}
	return code, vars, nil
}

// prepare makes the overlays and the variable store. dir is the machine's own folder.
func prepare(ctx context.Context, c Config, dir string) (files, error) {
	var f files
	for i, d := range c.Disks {
		if d.NBD != "" {
			f.disks = append(f.disks, diskFile{path: d.NBD, format: "raw", socket: true})
			continue
		}
		format, err := diskFormat(d.Path)
		if err != nil {
			return f, fmt.Errorf("machine %q: disk: %w", c.Name, err)
		}
		df := diskFile{path: d.Path, format: format, readOnly: d.ReadOnly}
		if !d.ReadOnly {
			df = diskFile{path: d.Overlay, format: "qcow2"}
			if d.Overlay == "" {
				df.path, df.throwaway = filepath.Join(dir, fmt.Sprintf("disk%d.qcow2", i)), true
			}
			if err := overlay(ctx, df.path, d.Path, format); err != nil {
				return f, fmt.Errorf("machine %q: disk %s: %w", c.Name, d.Path, err)
			}
		}
		f.disks = append(f.disks, df)
	}
	if c.Firmware == UEFI {
		code, empty, err := uefi(c.Arch)
		if err != nil {
			return f, fmt.Errorf("machine %q: %w", c.Name, err)
		}
		f.code, f.vars = code, c.Vars
		if f.vars == "" {
			f.vars = filepath.Join(dir, "vars.qcow2")
		}
		if err := overlay(ctx, f.vars, empty, "raw"); err != nil {
			return f, fmt.Errorf("machine %q: variable store: %w", c.Name, err)
		}
	}
	return f, nil
}

// overlay makes a qcow2 file that holds what changes over backing; one that exists is left as it is.
func overlay(ctx context.Context, path, backing, format string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for the overlay: %w", err)
	}
	abs, err := filepath.Abs(backing)
	if err != nil {
		return fmt.Errorf("making an overlay: %w", err)
	}
	_, err = tool.Command{Name: "qemu-img", Args: []string{"create", "-q", "-f", "qcow2", "-F", format, "-b", abs, path}}.Run(ctx)
	if err != nil {
		return fmt.Errorf("making the overlay %s: %w", path, err)
	}
	return nil
}

// diskFormat tells qcow2 by its magic; all else is raw. QEMU is never left to guess: a guest could write a header into a
// raw disk and be believed.
func diskFormat(path string) (string, error) {
	r, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	var magic [4]byte
	if _, err := io.ReadFull(r, magic[:]); err != nil {
		return "", fmt.Errorf("reading the first bytes of %s: %w", path, err)
	}
	if string(magic[:]) == "QFI\xfb" {
		return "qcow2", nil
	}
	return "raw", nil
}
