package images

import (
	"fmt"
	"os"
	"strings"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/machine/disk/flash"
)

// listDisks answers flash without a target: which disks there are.
func (c *flashCommand) listDisks(out output) error {
	disks, err := flash.Candidates()
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(map[string]any{"disks": disks})
	}
	if err := flash.Table(out.stdout, disks, "not removable: needs --force"); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out.stderr, "Name one of them to write the image to it: images flash IMAGE DISK")
	return err
}

// confirm has a person at the terminal say yes: what the disk held is lost after
// this. Of a disk that is probably not a stick its name must be given a second
// time, there or with --yes-erase, whatever --force and --yes say.
func (c *flashCommand) confirm(out output, target *flash.Target) error {
	if c.YesErase != "" && c.YesErase != c.Target {
		return program.Usagef("--yes-erase names %s, and the target is %s: name the same disk twice, or another one", c.YesErase, c.Target)
	}
	person, isFile := out.stdin.(*os.File)
	asks := isFile && ui.IsTerminal(person) && !c.Yes && c.YesErase == ""
	doubt := target.Doubt()
	switch {
	case asks && doubt != "":
		return ui.Ask(person, out.stderr, c.describe(target)+fmt.Sprintf("\nIt is %s. Type its name, %s, to go on: ", doubt, c.Target), c.Target)
	case asks:
		return ui.Ask(person, out.stderr, c.describe(target)+"\nGo on? [y/N] ", "y", "yes")
	case doubt != "" && c.YesErase == "":
		return fmt.Errorf("it is %s, and --force alone is not enough: say so twice, with --yes-erase %s; it holds: %s", doubt, c.Target, target.About.Lost())
	}
	return nil
}

// describe names a target so that the wrong disk is recognised, and what is lost.
func (c *flashCommand) describe(target *flash.Target) string {
	about := []string{ui.Bytes(target.Size)}
	for _, text := range []string{target.About.Model, target.About.Bus} {
		if text != "" {
			about = append(about, text)
		}
	}
	text := fmt.Sprintf("All that is on %s (%s) will be overwritten", ui.Clean(c.Target), strings.Join(about, ", "))
	if c.Keep {
		text += ", except its persistent partition"
	}
	if target.About.Device != "" {
		text += ". It holds: " + target.About.Lost()
	}
	return text + "."
}
