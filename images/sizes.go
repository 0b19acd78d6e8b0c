package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"phase/appliance/release"
	"phase/appliance/ui"
)

// Limits on sizes, in bytes: what a node is worth netbooting for, the smallest
// stick in a drawer, a download. The arm64 kernel is the larger one.
var (
	maxPayload = map[string]int64{"x86_64": 40 * mebi, "arm64": 48 * mebi}
	maxDisk    = int64(160 * mebi)
	maxQCOW2   = int64(48 * mebi)
)

// Sizes prints what a release of one arch and its images weigh, beside what
// they may, and fails when one is too heavy. An image not made is not listed.
func Sizes(w io.Writer, out string, m release.Manifest) error {
	rows := [][]string{{"what", "size", "at most"}}
	var payload int64
	for _, name := range release.Required {
		size := m.Artifacts[name].Size
		payload += size
		rows = append(rows, []string{name, ui.Bytes(size), ""})
	}
	heavy := ""
	limited := func(what string, size, limit int64) {
		rows = append(rows, []string{what, ui.Bytes(size), ui.Bytes(limit)})
		if size > limit {
			heavy = what
		}
	}
	limited("netboot payload", payload, maxPayload[m.Arch])
	for _, image := range []struct {
		ext   string
		limit int64
	}{{"img", maxDisk}, {"qcow2", maxQCOW2}} {
		name := "phase-" + m.Arch + "." + image.ext
		if info, err := os.Stat(filepath.Join(out, name)); err == nil {
			limited(name, info.Size(), image.limit)
		}
	}
	if err := ui.Table(w, rows); err != nil {
		return err
	}
	if heavy != "" {
		return fmt.Errorf("%s is too large", heavy)
	}
	return nil
}

type sizesCommand struct {
	Arch    string `short:"A" default:"x86_64" help:"x86_64 or arm64."`
	Out     string `short:"o" default:"build" help:"Folder that 'images build' wrote to." type:"path"`
	Channel string `default:"stable" help:"Channel: stable, testing or nightly."`
	Keys    string `default:"build/keys" help:"Folder of the root document." type:"path"`
}

func (c *sizesCommand) run(_ context.Context, out output) error {
	arch, err := release.ParseArch(c.Arch)
	if err != nil {
		return err
	}
	root, err := os.ReadFile(filepath.Join(c.Keys, rootDocument))
	if err != nil {
		return err
	}
	v, _, err := openRelease(filepath.Join(c.Out, "release", c.Channel, arch), root, arch)
	if err != nil {
		return err
	}
	return Sizes(out.stdout, c.Out, v.Manifest())
}
