package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/fat"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/diskimage"
	"phase/kernel"
)

// boardPath is where build leaves the image for a board.
func boardPath(out string, b kernel.Board) string {
	return filepath.Join(out, "phase-"+b.Arch+"-"+b.Name+".img")
}

// takeBoard copies what a board's firmware reads out of the modules of its firmware
// and kernel into the folder of the pieces that has the board's name.
func (p Pieces) takeBoard(ctx context.Context, source Source) error {
	if source.Board == "" {
		return nil
	}
	b, err := kernel.BoardFor(source.Board)
	if err != nil {
		return err
	}
	for _, from := range []struct {
		module   string
		patterns []string
	}{{b.Firmware, b.FirmwareFiles}, {b.Kernel, b.KernelFiles}} {
		found, err := moduleAt(ctx, source.Checkout, from.module)
		if err != nil {
			return err
		}
		for _, pattern := range from.patterns {
			files, err := filepath.Glob(filepath.Join(found.Dir, pattern))
			if err != nil {
				return err
			}
			if len(files) == 0 {
				return fmt.Errorf("%s has no %s", from.module, pattern)
			}
			for _, file := range files {
				if err := copyFile(file, p.path(b.Name, filepath.Base(file)), io.Copy); err != nil {
					return err
				}
			}
		}
	}
	found, err := moduleAt(ctx, source.Checkout, b.Kernel)
	if err != nil {
		return err
	}
	return copyFile(filepath.Join(found.Dir, b.Image), p.path(b.Name, b.Started), io.Copy)
}

// boardFiles are those of a boot partition, with what the board's firmware reads:
// cmdline.txt is the board's, which is read to its end and so ends in spaces.
func (s Spec) boardFiles(b kernel.Board, files []fat.File, id gpt.ID, open *opened) ([]fat.File, error) {
	if s.Pieces.Kernel.Arch != b.Arch {
		return nil, fmt.Errorf("the board %s takes releases for %s, not for %s", b.Name, b.Arch, s.Pieces.Kernel.Arch)
	}
	own, err := os.ReadDir(s.Pieces.path(b.Name))
	if err != nil {
		return nil, fmt.Errorf("the pieces have no files for the board %s (compile them with --board %s): %w", b.Name, b.Name, err)
	}
	line := []byte(b.DiskCmdline(gpt.Table{ID: id}.PartitionID(disk.Root).String()))
	if len(line) > diskimage.CmdlineBytes {
		return nil, fmt.Errorf("the command line has %d bytes, at most %d", len(line), diskimage.CmdlineBytes)
	}
	for i, f := range files {
		if f.Path == disk.CmdlineFile {
			files[i] = diskimage.InMemory(f.Path, append(line, bytes.Repeat([]byte{' '}, diskimage.CmdlineBytes-len(line))...))
		}
	}
	files = append(files, diskimage.InMemory("config.txt", []byte(b.Config)))
	for _, e := range own {
		from := open.file(s.Pieces.path(b.Name, e.Name()))
		files = append(files, fat.File{Path: e.Name(), Size: from.Size(), From: from})
	}
	return files, open.err
}
