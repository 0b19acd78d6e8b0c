package plasmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/base/ui/bar"
	"phase/appliance/daemon/api"
	"phase/appliance/machine/control"
	"phase/appliance/machine/disk/flash"
	"phase/appliance/release/operator"
)

// installCmd writes the node to another disk of its machine.
type installCmd struct {
	updateLook
	Disk     string `arg:"" optional:"" help:"The disk, such as /dev/nvme0n1. Without it, the disks of the node are listed."`
	YesErase string `placeholder:"DISK" help:"The disk a second time, where nobody is asked at a terminal."`
	NoWait   bool   `help:"Return when it has begun."`
}

func (c installCmd) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	u, err := c.ask(ctx, operator.Question{Do: operator.Disks})
	if err != nil {
		return err
	}
	if c.Disk == "" {
		return c.list(u, stdout, stderr)
	}
	if c.YesErase != "" && c.YesErase != c.Disk {
		return program.Usagef("--yes-erase names %s, and the disk is %s: name the same disk twice, or another one", c.YesErase, c.Disk)
	}
	if err := c.confirm(u, stdin, stderr); err != nil {
		return err
	}
	if u, err = c.ask(ctx, operator.Question{Do: operator.Install, Disk: c.Disk, Erase: c.Disk}); err != nil {
		return err
	}
	if c.NoWait {
		return c.show(stdout, operator.Install, u)
	}
	return c.follow(ctx, stdout, stderr)
}

func (c installCmd) list(u api.Updated, stdout, stderr io.Writer) error {
	if c.JSON {
		return program.PrintJSON(stdout, map[string]any{"disks": u.Disks, "installed": u.Installed})
	}
	if err := flash.Table(stdout, u.Disks, ""); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stderr, "Name one of them to write the node to it: plasmd install DISK")
	return err
}

// confirm shows what is lost, and has the disk named a second time.
func (c installCmd) confirm(u api.Updated, stdin io.Reader, stderr io.Writer) error {
	for _, d := range u.Disks {
		if d.Device != c.Disk {
			continue
		}
		if d.Refused != "" {
			return errors.New(ui.Clean(d.Refused))
		}
		fmt.Fprintf(stderr, "All that is on %s of the node (%s, %s) will be overwritten. It holds: %s.\n", ui.Clean(c.Disk), ui.Bytes(d.Size), ui.Clean(d.Model), d.Lost())
		return again(c.YesErase, c.Disk, "the disk", stdin, stderr)
	}
	return fmt.Errorf("the node has no disk %s; `plasmd install` lists those it has", c.Disk)
}

// again has somebody name what is going to be erased a second time: by a flag, or at
// the terminal.
func again(flag, want, what string, stdin io.Reader, stderr io.Writer) error {
	if flag == want {
		return nil
	}
	person, isFile := stdin.(*os.File)
	if !isFile || !ui.IsTerminal(person) {
		return program.Usagef("name %s a second time: --yes-erase %s", what, want)
	}
	return ui.Ask(person, stderr, fmt.Sprintf("Type its name, %s, to go on: ", want), want)
}

// follow shows how far the node is, until it has written and read back the disk.
func (c installCmd) follow(ctx context.Context, stdout, stderr io.Writer) error {
	var shown *bar.Bar
	doing := ""
	defer func() {
		if shown != nil {
			shown.Close()
		}
	}()
	for {
		u, err := c.ask(ctx, operator.Question{Do: operator.Disks})
		if err != nil {
			return fmt.Errorf("the node has begun to write %s and then did not answer: %w", c.Disk, err)
		}
		is := u.Installed
		if is == nil || is.Disk != c.Disk {
			return fmt.Errorf("the node has been restarted, and writes nothing any more: begin again")
		}
		if is.Failed != "" {
			return errors.New(ui.Clean(is.Failed))
		}
		if is.Doing == control.InstallDone {
			break
		}
		if is.Doing != doing {
			if shown != nil {
				shown.Close()
			}
			doing, shown = is.Doing, bar.Start(stderr, ui.Clean(is.Doing), is.Total)
		}
		shown.Set(is.Bytes)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followEvery):
		}
	}
	if c.JSON {
		return program.PrintJSON(stdout, map[string]any{"disk": c.Disk})
	}
	_, err := fmt.Fprintf(stdout, "%s holds a node of its own: take the medium out that this one was started from, and restart the machine\n", ui.Clean(c.Disk))
	return err
}

// resetCmd has a node forget all.
type resetCmd struct {
	updateLook
	YesErase string `placeholder:"PEER" help:"The peer id of the node, where nobody is asked at a terminal."`
}

func (c resetCmd) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	u, err := c.ask(ctx, operator.Question{Do: operator.Status})
	if err != nil {
		return err
	}
	node := u.Report.Node
	if node == "" {
		return errors.New("this node keeps nothing that lasts, so there is nothing to forget: a restart is enough")
	}
	if c.YesErase != "" && c.YesErase != node {
		return program.Usagef("--yes-erase names %s, and the node is %s", c.YesErase, node)
	}
	fmt.Fprintf(stderr, "All that node %s keeps will be lost: its identity, its token, the releases of its store, its history. It restarts with its stub, under another peer id.\n", ui.Clean(node))
	if err := again(c.YesErase, node, "the node", stdin, stderr); err != nil {
		return err
	}
	if u, err = c.ask(ctx, operator.Question{Do: operator.Reset, Erase: node}); err != nil {
		return err
	}
	return c.show(stdout, operator.Reset, u)
}
