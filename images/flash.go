package images

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/machine/disk/gpt"
)

type flashCommand struct {
	Image  string   `arg:"" help:"The disk image."`
	Target string   `arg:"" help:"The stick's block device, such as /dev/sdX."`
	Set    []string `short:"s" help:"A line of phase.conf, such as phase.mode=local; may be repeated. Replaces the image's settings." placeholder:"KEY=VALUE" sep:"none"`
	Keep   bool     `short:"k" help:"Keep the stick's persistent partition, with identity, history and floor, and its identifiers."`
	Force  bool     `short:"f" help:"Write to what is not removable, a partition, or no block device at all."`
	Yes    bool     `short:"y" help:"Do not ask at the terminal before overwriting."`
	JSON   bool     `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *flashCommand) run(ctx context.Context, out output) error {
	image, err := os.Open(c.Image)
	if err != nil {
		return err
	}
	defer image.Close()
	var conf []byte
	if c.Set != nil {
		if conf, err = Conf(c.Set); err != nil {
			return program.Usagef("--set: %w", err)
		}
	}
	target, err := flash.OpenTarget(c.Target, c.Force)
	if err != nil {
		return err
	}
	defer target.Close()
	plan, err := c.prepare(image, target, conf)
	if err == nil {
		err = isWhole(ctx, image, target)
	}
	if err != nil {
		return fmt.Errorf("flashing %s: %w", c.Target, err)
	}
	if person, ok := out.stdin.(*os.File); ok && ui.IsTerminal(person) && !c.Yes {
		if err := ask(person, out.stderr, describe(c.Target, target.Size, c.Keep)); err != nil {
			return fmt.Errorf("flashing %s: %w", c.Target, err)
		}
	}
	bar := ui.Progress(out.stderr, "writing", plan.Length)
	sum, err := plan.Write(ctx, target, bar.Add)
	if err == nil {
		err = target.Settle()
	}
	bar.Close()
	if err != nil {
		return fmt.Errorf("writing %s: %w", c.Target, err)
	}
	bar = ui.Progress(out.stderr, "reading back", plan.Length)
	err = plan.Verify(ctx, target, sum, bar.Add)
	bar.Close()
	if err != nil {
		return fmt.Errorf("checking %s: %w", c.Target, err)
	}
	target.Reread()
	if c.JSON {
		return out.json(map[string]any{"target": c.Target, "disk": plan.ID().String(), "bytes": target.Size})
	}
	_, err = fmt.Fprintf(out.stdout, "%s holds the image, as disk %s\n", c.Target, plan.ID())
	return err
}

func (c *flashCommand) prepare(image *os.File, target *flash.Target, conf []byte) (*flash.Plan, error) {
	if c.Keep {
		return flash.PrepareKeeping(image, target, target.Size, conf)
	}
	var seed [16]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	return flash.Prepare(image, target.Size, gpt.NewID(seed[:]), conf)
}

// isWhole refuses an image that would make a stick no machine starts from, and
// one that would be read from where it is being written. Who signed it is for
// inspect --root to say.
func isWhole(ctx context.Context, image *os.File, target *flash.Target) error {
	from, err := image.Stat()
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
	report, err := Inspect(ctx, image, nil)
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("the image is damaged, build or fetch it again: %s", strings.Join(report.Problems, "; "))
	}
	return err
}

// errNo is the error when the person does not confirm.
var errNo = errors.New("nothing was written")

// ask has a person at the terminal confirm: what the stick held is lost after
// this.
func ask(in io.Reader, out io.Writer, what string) error {
	if _, err := fmt.Fprintf(out, "All that is on %s will be overwritten. Go on? [y/N] ", what); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errNo
}

// describe names a target so that the wrong disk is recognised.
func describe(path string, size int64, keep bool) string {
	about := []string{ui.Bytes(size)}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		for _, file := range []string{"vendor", "model"} {
			if text, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(real), "device", file)); err == nil {
				about = append(about, ui.Clean(strings.TrimSpace(string(text))))
			}
		}
	}
	name := fmt.Sprintf("%s (%s)", ui.Clean(path), strings.Join(about, ", "))
	if keep {
		name += ", except its persistent partition,"
	}
	return name
}
