package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"phase/appliance/base/program"
	"phase/appliance/base/tool"
	"phase/appliance/machine/disk/gpt"
	"phase/appliance/release/diskimage"
	"phase/appliance/release/kexec"
	"phase/appliance/release/layout"
	"phase/appliance/release/trust"
	"phase/kernel"
)

// Files that are added to a rootfs too, and the pieces that they are: they make a
// release all that an image of it is made of. init lays the empty persistent
// partition where there is no file system that can be used, since there is no mkfs
// on a node; its blocks take no room in a squashfs.
var rootfsPieces = map[string]string{
	diskimage.PermFile:   piecePerm,
	diskimage.EFIFile:    pieceEFI,
	diskimage.LoaderFile: pieceLoader,
}

// openFolder makes the image of a release that lies in a folder, as fetch brings it
// from any node or plasmd serves it. All that the image is made of is in the
// release, so its signature vouches for the image.
func (c *flashCommand) openFolder(ctx context.Context) (i signedImage, err error) {
	if c.Signature != "" {
		return i, program.Usagef("--signature is for an image; a release in a folder has its signature with it")
	}
	trusted, err := c.trusted()
	if err != nil {
		return i, err
	}
	i.root = trusted.Last()
	v, _, err := openRelease(ctx, c.Image, i.root, trust.Any)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("it is a folder, and holds no release (DIR/CHANNEL/ARCH, as 'fetch -o DIR' makes it): %w", err)
	}
	if err != nil {
		return i, err
	}
	dir, err := os.MkdirTemp("", "phase-stick-*")
	if err != nil {
		return i, err
	}
	file := filepath.Join(dir, "image")
	if err = Stick(ctx, v, c.Image, file); err == nil {
		i.file, err = os.Open(file)
	}
	return i, errors.Join(err, os.RemoveAll(dir)) // what is open can still be read
}

// Stick writes the disk image of a release whose artifacts lie in a folder, checked:
// the same bytes that a build without settings of its own makes.
func Stick(ctx context.Context, v trust.Verified, folder, to string) error {
	m := v.Manifest()
	k, err := kernel.For(m.Arch)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), "pieces-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := Pieces{Dir: dir, Kernel: k, Time: m.Created}
	if err := p.takeFromRelease(ctx, folder); err != nil {
		return fmt.Errorf("taking apart the release in %s: %w", folder, err)
	}
	r := Result{Manifest: m, Envelope: v.Envelope(), Digest: v.Digest(), Folder: folder}
	r.DiskID = gpt.NewID(r.Digest[:])
	return Spec{Pieces: p, Created: m.Created}.disk(r, to, nil)
}

// takeFromRelease gets the pieces of a disk image out of a release.
func (p Pieces) takeFromRelease(ctx context.Context, folder string) error {
	args := []string{"-no-progress", "-no-xattrs", "-quiet", "-d", p.path(pieceTree), filepath.Join(folder, layout.FileName("rootfs"))}
	for file := range rootfsPieces {
		args = append(args, file)
	}
	if _, err := (tool.Command{Name: "unsquashfs", Args: args}).Run(ctx); err != nil {
		return err
	}
	for file, piece := range rootfsPieces {
		err := os.Rename(p.path(pieceTree, file), p.path(piece))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("its rootfs has no %s, as it was built before boot loaders were put there: flash an image of it, or take a newer release", file)
		}
		if err != nil {
			return err
		}
	}
	return copyFile(filepath.Join(folder, layout.FileName("kernel")), p.path(pieceImage),
		func(w io.Writer, from io.Reader) (int64, error) { return kexec.Unpack(w, from) })
}
