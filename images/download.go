package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/base/envelope"
	"phase/appliance/base/names"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/base/ui/bar"
	"phase/appliance/release/manifest"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
)

// signedImage is an image to flash, and what was found out about who made it.
type signedImage struct {
	file *os.File
	root trust.Root // whose keys have signed it; the zero Root: nobody was asked
	// channel is whose keys those are, "" where the release itself says so: who may
	// sign for one channel says nothing of another.
	channel string
}

// openImage opens the image, and sees to it that it is what was signed, wherever
// it is compressed or a signature was asked for. A compressed one is unpacked to a
// file that has no name, and that is what is read from then on. The image of a
// release in a folder is made of that.
func (c *flashCommand) openImage(ctx context.Context, from *os.File, out output) (i signedImage, err error) {
	i.file = from
	if info, err := from.Stat(); err != nil {
		return i, err
	} else if info.IsDir() {
		return c.openFolder(ctx)
	}
	packed, err := isCompressed(from)
	if err != nil || !packed && c.Signature == "" && c.Root == "" {
		return i, err
	}
	list, root, err := c.list()
	if err != nil {
		return i, err
	}
	is, err := c.known(ctx, from, list, out)
	if err != nil {
		return i, err
	}
	i.root, i.channel = root, list.Channel
	if !packed {
		return i, nil
	}
	name := strings.TrimSuffix(is.Name, zstdSuffix)
	unpacked, ok := list.named(name)
	if !ok || name == is.Name {
		return i, fmt.Errorf("%s was signed, but not what it holds: the list names no %s", is.Name, name)
	}
	i.file, err = unpack(ctx, from, unpacked, out)
	return i, err
}

// trusted are the roots of those who must have signed.
func (c *flashCommand) trusted() (roots.Loaded, error) {
	file := c.Root
	if file == "" {
		file = filepath.Join("build", "keys", rootDocument)
	}
	l, err := roots.LoadNamed(file)
	if err = errors.Join(append(l.Problems, err)...); err != nil {
		err = fmt.Errorf("whose signature counts? Name with --root the root.json of those who made the image: %w", err)
	}
	return l, err
}

// list is the list of images with the root that vouches for it.
func (c *flashCommand) list() (l List, root trust.Root, err error) {
	trusted, err := c.trusted()
	if err != nil {
		return l, root, err
	}
	signature := c.Signature
	if signature == "" {
		signature = filepath.Join(filepath.Dir(c.Image), listFile)
	}
	data, err := statefile.ReadCapped(signature, envelope.MaxBytes)
	if err != nil {
		return l, root, fmt.Errorf("looking for the signature of the image (%s, from where the image is; --signature names another file): %w", listFile, err)
	}
	root = trusted.Last()
	if l, err = VerifyList(data, root); err != nil {
		err = fmt.Errorf("%s, by root version %d: %w", signature, root.Version(), err)
	}
	return l, root, err
}

// known reads all of the file and finds it in the list.
func (c *flashCommand) known(ctx context.Context, from *os.File, l List, out output) (Listed, error) {
	info, err := from.Stat()
	if err != nil {
		return Listed{}, err
	}
	shown := bar.Start(out.stderr, "checking", info.Size())
	is, err := manifest.Measure(ctx, io.TeeReader(io.NewSectionReader(from, 0, info.Size()), progress{shown}))
	shown.Close()
	if err != nil {
		return Listed{}, err
	}
	if found, ok := l.holding(is); ok {
		return found, nil
	}
	named, ok := l.named(filepath.Base(c.Image))
	switch {
	case !ok:
		return Listed{}, fmt.Errorf("it is none of the %s that were signed: fetch image and signature from the same place, of the same release", ui.Count(len(l.Files), "file"))
	case is.Size < named.Size:
		return Listed{}, fmt.Errorf("it is not complete: %s of %s; fetch it again", ui.Bytes(is.Size), ui.Bytes(named.Size))
	}
	return Listed{}, fmt.Errorf("it is not what was signed (sha256 %s, not %s): it is damaged, was changed, or belongs to another release; fetch it again, with its signature", is.SHA256.Hex(), names.Digest(named.SHA256).Hex())
}

// unpack decompresses an image, which must be the one that was signed.
func unpack(ctx context.Context, from *os.File, is Listed, out output) (*os.File, error) {
	f, err := os.CreateTemp("", "phase-image-*")
	if err != nil {
		return nil, err
	}
	to := &sparse{file: f}
	shown := bar.Start(out.stderr, "unpacking", is.Size)
	err = errors.Join(os.Remove(f.Name()), decompress(io.MultiWriter(to, progress{shown}, ender{ctx}), io.NewSectionReader(from, 0, maxImage), is.Size), to.close())
	shown.Close()
	if err == nil {
		var held manifest.Artifact
		if held, err = manifest.Measure(ctx, io.NewSectionReader(f, 0, is.Size)); err == nil && held.SHA256 != names.Digest(is.SHA256) {
			err = fmt.Errorf("it holds another image than %s, which was signed", is.Name)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unpacking the image into %s: %w", os.TempDir(), err), f.Close())
	}
	return f, nil
}

// progress moves a bar by what is written.
type progress struct{ *bar.Bar }

func (p progress) Write(b []byte) (int, error) {
	p.Add(int64(len(b)))
	return len(b), nil
}

// ender refuses writes once a context has ended.
type ender struct{ ctx context.Context }

func (e ender) Write(b []byte) (int, error) { return len(b), context.Cause(e.ctx) }
