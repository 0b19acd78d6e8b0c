package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"phase/appliance/base/ui"
	"phase/appliance/base/ui/bar"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

type flashCommand struct {
	Image  string `arg:"" help:"The disk image, as it was built (.img) or as it is downloaded (.img.zst, which must be signed); or the folder of a release, as fetch brings it from any node."`
	Target string `arg:"" optional:"" help:"The stick's block device, such as /dev/sdX. Without it, the disks of this machine are listed."`
	deviceSettings
	Root      string `short:"r" help:"Root document of those who must have signed the image (build/keys/root.json), with those beside it in root/ that follow it." type:"path" placeholder:"FILE"`
	Signature string `help:"The signed list that names the image (phase-images.json beside the image)." type:"path" placeholder:"FILE"`
	Keep      bool   `short:"k" help:"Keep the stick's persistent partition, with identity, history and floor, and its identifiers."`
	Force     bool   `short:"f" help:"Write to what is not removable, a partition, or no block device at all."`
	Yes       bool   `short:"y" help:"Do not ask at the terminal before overwriting a stick."`
	YesErase  string `help:"The target a second time, which --force wants of a disk that is not removable where nobody is asked." placeholder:"TARGET"`
	JSON      bool   `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *flashCommand) run(ctx context.Context, out output) error {
	from, err := os.Open(c.Image)
	if err != nil {
		return err
	}
	defer from.Close()
	if c.Target == "" {
		return c.listDisks(out)
	}
	conf, err := c.conf()
	if err != nil {
		return err
	}
	target, err := flash.OpenTarget(c.Target, c.Force)
	if err != nil {
		return err
	}
	defer target.Close()
	image, err := c.openImage(ctx, from, out)
	if err != nil {
		return fmt.Errorf("checking %s: %w", c.Image, err)
	}
	defer image.file.Close()
	plan, err := c.prepare(image.file, target, conf)
	if err == nil {
		err = c.isWhole(ctx, from, image, target, out)
	}
	if err == nil {
		err = c.confirm(out, target)
	}
	if err != nil {
		return fmt.Errorf("flashing %s: %w", c.Target, err)
	}
	var shown *bar.Bar
	err = plan.Put(ctx, target, func(what string) func(int64) {
		if shown != nil {
			shown.Close()
		}
		shown = bar.Start(out.stderr, what, plan.Length)
		return shown.Add
	})
	shown.Close()
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(map[string]any{"target": c.Target, "disk": plan.ID().String(), "bytes": target.Size})
	}
	_, err = fmt.Fprintf(out.stdout, "%s holds the image, as disk %s\n", c.Target, plan.ID())
	return err
}

func (c *flashCommand) prepare(image *os.File, target *flash.Target, conf []byte) (*flash.Plan, error) {
	if c.Keep {
		return flash.PrepareKeeping(image, target, target.Geometry, conf)
	}
	var seed [16]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	return flash.Prepare(image, target.Geometry, gpt.NewID(seed[:]), conf)
}

// isWhole refuses an image that would make a stick no machine starts from, one
// whose release others may sign than the image, and one that would be read
// from where it is being written. It says what the image holds.
func (c *flashCommand) isWhole(ctx context.Context, file *os.File, image signedImage, target *flash.Target, out output) error {
	from, err := file.Stat()
	if err != nil {
		return err
	}
	to, err := target.Stat()
	if err != nil {
		return err
	}
	if os.SameFile(from, to) {
		return errors.New("it is the image itself")
	}
	r, err := Inspect(ctx, image.file, image.root)
	if err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("the image is damaged, build or fetch it again: %s", strings.Join(r.Problems, "; "))
	}
	if image.channel != "" && image.channel != r.Channel {
		return fmt.Errorf("its release is of channel %s, and those who have signed the image sign for %s: fetch it from where %[1]s comes from", r.Channel, image.channel)
	}
	fmt.Fprintf(out.stderr, "image: release %s/%s version %d (%s), %s\n", r.Channel, r.Arch, r.Version, ui.Clean(r.Name), verdict(r.Verified))
	for _, late := range lateManifest("the release", r.Created, r.Expires, time.Now()) {
		fmt.Fprintln(out.stderr, "warning:", late)
	}
	return nil
}
