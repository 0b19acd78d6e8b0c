package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"phase/appliance/base/ui"
	"phase/appliance/release/manifest"
)

// Limits on sizes, in bytes: the netboot payload, a disk that fits the smallest
// stick, a download. The arm64 kernel is the larger one, and lies on the disk
// twice: as it is served, and uncompressed, as UEFI starts it. Its download grew
// from 46 MiB with the network of nodes, which every release carries.
var (
	maxPayload  = map[string]int64{"x86_64": 34 * mebi, "arm64": 34 * mebi}
	maxDisk     = int64(160 * mebi)
	maxDownload = map[string]int64{"x86_64": 48 * mebi, "arm64": 54 * mebi}
)

// Weight is what one thing weighs and may weigh, in bytes.
type Weight struct {
	What   string `json:"what"`
	Bytes  int64  `json:"bytes"`
	AtMost int64  `json:"at_most"` // 0: no limit
}

// Weigh says what a release of one arch and its images weigh. An image not made
// is not listed.
func Weigh(out string, m manifest.Manifest) []Weight {
	var all []Weight
	var payload int64
	for _, name := range manifest.Required {
		size := m.Artifacts[name].Size
		payload += size
		all = append(all, Weight{What: name, Bytes: size})
	}
	all = append(all, Weight{"netboot payload", payload, maxPayload[m.Arch]})
	for _, image := range []struct {
		ext   string
		limit int64
	}{{"img", maxDisk}, {"img" + zstdSuffix, maxDownload[m.Arch]}, {"qcow2", maxDownload[m.Arch]}} {
		if info, err := os.Stat(imagePath(out, m.Arch, image.ext)); err == nil {
			all = append(all, Weight{info.Name(), info.Size(), image.limit})
		}
	}
	return all
}

// Sizes prints weights beside what they may be.
func Sizes(w io.Writer, weights []Weight) error {
	rows := [][]string{{"what", "size", "at most"}}
	for _, each := range weights {
		most := ""
		if each.AtMost > 0 {
			most = ui.Bytes(each.AtMost)
		}
		rows = append(rows, []string{each.What, ui.Bytes(each.Bytes), most})
	}
	return ui.Table(w, rows)
}

// tooLarge names what is heavier than it may be.
func tooLarge(weights []Weight) error {
	for _, each := range weights {
		if each.AtMost > 0 && each.Bytes > each.AtMost {
			return fmt.Errorf("%s is too large: %s, at most %s", each.What, ui.Bytes(each.Bytes), ui.Bytes(each.AtMost))
		}
	}
	return nil
}

type sizesCommand struct {
	Arch    string `short:"A" default:"x86_64" help:"x86_64 or arm64."`
	Out     string `short:"o" default:"build" help:"Folder that 'images build' wrote to." type:"path"`
	Channel string `short:"c" default:"stable" help:"Channel: stable, testing or nightly."`
	Keys    string `short:"k" default:"build/keys" help:"Folder of the root document." type:"path"`
	JSON    bool   `name:"json" short:"j" help:"Answer in JSON."`
}

func (c *sizesCommand) run(ctx context.Context, out output) error {
	arch, err := parseArch(c.Arch)
	if err != nil {
		return err
	}
	channel, err := parseChannel("--channel", c.Channel)
	if err != nil {
		return err
	}
	trusted, err := LoadRoots(c.Keys)
	if err != nil {
		return err
	}
	v, _, err := openRelease(ctx, filepath.Join(c.Out, "release", channel, arch), trusted.Last(), arch)
	if err != nil {
		return err
	}
	weights := Weigh(c.Out, v.Manifest())
	if c.JSON {
		err = out.json(weights)
	} else {
		err = Sizes(out.stdout, weights)
	}
	return errors.Join(err, tooLarge(weights))
}
