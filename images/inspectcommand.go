package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/base/envelope"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/disk"
	"phase/appliance/release/layout"
	"phase/appliance/release/roots"
	"phase/appliance/release/trust"
	"phase/images/attest"
)

type inspectCommand struct {
	Image string `arg:"" help:"A root, a manifest or a list of images, a folder of keys or of releases, a disk image, or a block device."`
	Root  string `short:"r" help:"Root document whose keys must have signed the release, with those beside it in root/ that follow it." type:"path" placeholder:"FILE"`
	JSON  bool   `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *inspectCommand) run(ctx context.Context, out output) error {
	trusted, err := c.trusted()
	if err != nil {
		return err
	}
	info, err := os.Stat(c.Image)
	if err != nil {
		return err
	}
	var d Documents
	switch {
	case info.IsDir():
		d, err = inspectFolder(c.Image, trusted, time.Now())
	case isEnvelope(c.Image):
		d, err = inspectFile(c.Image, trusted, time.Now())
	default:
		return c.disk(ctx, trusted.Last(), out)
	}
	if err != nil {
		return fmt.Errorf("inspecting %s: %w", c.Image, err)
	}
	if c.JSON {
		err = out.json(d)
	} else {
		err = d.print(out.stdout)
	}
	return c.told(err, d.Problems)
}

// told ends with an error where there are problems, once they were printed.
func (c *inspectCommand) told(err error, problems []string) error {
	if err == nil && len(problems) > 0 {
		return fmt.Errorf("%s: %s", c.Image, strings.Join(problems, "; "))
	}
	return err
}

// trusted are the roots to judge by; none without --root.
func (c *inspectCommand) trusted() (roots.Loaded, error) {
	if c.Root == "" {
		return roots.Loaded{}, nil
	}
	l, err := roots.LoadNamed(c.Root)
	return l, errors.Join(append(l.Problems, err)...)
}

func (c *inspectCommand) disk(ctx context.Context, root trust.Root, out output) error {
	f, err := os.Open(c.Image)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := Inspect(ctx, f, root)
	if err != nil {
		return fmt.Errorf("inspecting %s: %w", c.Image, err)
	}
	if err := r.measured(f); err != nil {
		return fmt.Errorf("inspecting %s: %w", c.Image, err)
	}
	r.Warnings = append([]string{}, lateManifest("the release", r.Created, r.Expires, time.Now())...)
	if c.JSON {
		err = out.json(r)
	} else {
		err = r.print(out.stdout)
	}
	return c.told(err, r.Problems)
}

// measured compares what is on a block device with the device itself. Firmware and
// kernel look for a partition table where the device's own sectors put it.
func (r *Report) measured(f *os.File) error {
	device, err := disk.IsDevice(f)
	if err != nil || !device {
		return err
	}
	is, err := disk.Measure(f)
	if err != nil {
		return err
	}
	if is.Sector != r.Sector {
		r.problem(fmt.Errorf("its partition table counts sectors of %d bytes and this disk's have %d, so no machine starts from it: write the image with images flash, which lays it out for the disk", r.Sector, is.Sector))
	}
	return nil
}

// isEnvelope tells a document from a disk: it is short, and JSON.
func isEnvelope(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > envelope.MaxBytes {
		return false
	}
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head)
	return strings.HasPrefix(strings.TrimSpace(string(head[:n])), "{")
}

// inspectFile looks at a root, a manifest or a list of images.
func inspectFile(file string, trusted roots.Loaded, now time.Time) (d Documents, err error) {
	env, err := readEnvelope(file)
	if err != nil {
		return d, err
	}
	d = newDocuments()
	if env.PayloadType == trust.RootType {
		if err := d.root(file, env, trusted.Roots); err != nil {
			return d, err
		}
		d.lateRoot(d.Roots[0], now)
		return d, nil
	}
	if env.PayloadType == ListType {
		return d, d.list(file, env, trusted.Last())
	}
	if env.PayloadType == attest.PayloadType {
		return d, errors.New("it is a provenance, which is judged with the release it speaks of: name the manifest beside it, or the folder of releases")
	}
	return d, d.manifest(file, env, trusted.Last(), now)
}

// inspectFolder looks at all roots of a folder of keys or of releases, and at
// its manifests, by the last of those roots unless others were named.
func inspectFolder(dir string, trusted roots.Loaded, now time.Time) (d Documents, err error) {
	first := filepath.Join(dir, rootDocument)
	if _, err := os.Stat(first); err != nil {
		first = filepath.Join(dir, layout.Root(1))
	}
	own, err := roots.LoadChain(first)
	if err != nil {
		return d, fmt.Errorf("it is neither a folder of keys nor one of releases: %w", err)
	}
	d = newDocuments()
	for _, problem := range own.Problems {
		d.problem(problem)
	}
	for i, root := range own.Roots {
		env, err := envelope.Parse(root.Raw())
		if err != nil {
			return d, err
		}
		if err := d.root(rootName(first, root), env, own.Roots[:i]); err != nil {
			return d, err
		}
	}
	d.Fleet = own.Chain.Fleet()
	d.lateRoot(d.Roots[len(d.Roots)-1], now)
	if trusted.Last().Version() == 0 {
		trusted = own
	} else if trusted.Chain.Fleet() != d.Fleet {
		d.problem(fmt.Errorf("its roots are of fleet %s, not of %s", d.Fleet, trusted.Chain.Fleet()))
	}
	files, err := manifests(dir)
	if err != nil {
		return d, err
	}
	for _, file := range files {
		data, err := statefile.ReadCapped(file, envelope.MaxBytes)
		if err != nil {
			return d, err
		}
		env, err := envelope.Parse(data)
		if err == nil {
			err = d.manifest(file, env, trusted.Last(), now)
		}
		if err != nil {
			d.problem(fmt.Errorf("%s: %w", file, err))
		}
	}
	return d, nil
}

// rootName is the file of a root of the chain that begins with first.
func rootName(first string, root trust.Root) string {
	if root.Version() == 1 {
		return first
	}
	dir := filepath.Dir(first)
	if filepath.Base(dir) == layout.RootFolder {
		dir = filepath.Dir(dir)
	}
	return filepath.Join(dir, layout.Root(root.Version()))
}
