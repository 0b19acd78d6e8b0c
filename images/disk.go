package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"phase/appliance/base/tool"
	"phase/appliance/machine/disk/parts"
	"phase/appliance/release/diskimage"
	"phase/appliance/release/layout"
	"phase/kernel"
)

const mebi = 1 << 20

// disk writes the image of a whole disk, for a board when one is given. What is
// empty on it stays a hole in the file.
func (s Spec) disk(r Result, path string, board *kernel.Board) error {
	conf, err := diskimage.Conf(s.Conf)
	if err != nil {
		return err
	}
	var open opened
	defer open.close()
	from := diskimage.Source{
		Kernel: s.Pieces.Kernel, Cmdline: r.Manifest.Cmdline, Manifest: r.Envelope, ID: r.DiskID, Conf: conf, Time: s.Created,
		Artifact: map[string]diskimage.Bytes{},
		Perm:     open.file(s.Pieces.path(piecePerm)), EFI: open.file(s.Pieces.path(pieceEFI)),
	}
	for name := range r.Manifest.Artifacts {
		from.Artifact[name] = open.file(r.Folder, layout.FileName(name))
	}
	if s.Pieces.Kernel.Compressed {
		from.Image = open.file(s.Pieces.path(pieceImage))
	}
	from.Loader, err = os.ReadFile(s.Pieces.path(pieceLoader))
	if err = errors.Join(err, open.err); err != nil {
		return err
	}
	files, err := from.Files()
	if err == nil && board != nil {
		files, err = s.boardFiles(*board, files, from.ID, &open)
	}
	if err != nil {
		return err
	}
	image, err := from.Lay(files)
	if err != nil {
		return err
	}
	return replace(path, func(f *os.File) error { return writeSparse(f, image) })
}

// opened are files that are read while an image is written.
type opened struct {
	files []*os.File
	err   error
}

// file opens one; what fails is noted in err.
func (o *opened) file(path ...string) diskimage.Bytes {
	f, err := os.Open(filepath.Join(path...))
	var info os.FileInfo
	if err == nil {
		o.files = append(o.files, f)
		info, err = f.Stat()
	}
	if err != nil {
		o.err = errors.Join(o.err, err)
		return bytes.NewReader(nil)
	}
	return io.NewSectionReader(f, 0, info.Size())
}

func (o *opened) close() {
	for _, f := range o.files {
		f.Close() // it was only read
	}
}

// writeSparse writes an image and leaves holes where it is empty.
func writeSparse(to *os.File, image parts.Image) error {
	if err := to.Truncate(image.Size()); err != nil {
		return err
	}
	block, empty := make([]byte, 1<<16), make([]byte, 1<<16)
	for at := int64(0); at < image.Size(); at += int64(len(block)) {
		n, err := image.ReadAt(block, at)
		if err != nil && err != io.EOF {
			return err
		}
		if bytes.Equal(block[:n], empty[:n]) {
			continue
		}
		if _, err := to.WriteAt(block[:n], at); err != nil {
			return err
		}
	}
	return nil
}

// qcow2Bytes is the size of the disk that a virtual machine sees: the persistent
// partition grows to its end at the first boot, and has room for three releases
// and one that is being loaded. What is not written takes no room in the file.
const qcow2Bytes = 512 * mebi

// toQCOW2 compresses a disk image for virtual machines. zlib in clusters of 64
// KiB: measured smaller than zstd here, and every program that reads QCOW2
// reads it. One coroutine in order, so that the bytes are always the same.
func toQCOW2(ctx context.Context, from, to string) error {
	return replace(to, func(f *os.File) error {
		for _, args := range [][]string{
			{"convert", "-c", "-m", "1", "-f", "raw", "-O", "qcow2", from, f.Name()},
			{"resize", "-q", "-f", "qcow2", f.Name(), fmt.Sprint(qcow2Bytes)},
		} {
			if _, err := (tool.Command{Name: "qemu-img", Args: args}).Run(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
