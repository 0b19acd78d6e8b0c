// Package net is the supervised program that keeps a node on its networks: it
// reads the mode and options of the machine from boot.json, lets package link
// do the work, and writes the state of the interfaces to net.json.
package net

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/machine/link"
	"phase/appliance/machine/link/nic"
)

const about = "Bring the machine's wired interfaces up and keep them so (the machine's own service; needs root)."

type commandLine struct {
	State  string `short:"s" default:"/run/phase" placeholder:"DIR" help:"The folder of boot.json, which is read, and net.json, which is written (${default})."`
	Resolv string `short:"r" default:"/tmp/resolv.conf" placeholder:"FILE" help:"Where the name servers are written (${default})."`
	Name   string `short:"n" placeholder:"NAME" help:"Tell DHCP servers this name; without it, and in private mode, they are told none."`
	Rescan bool   `help:"While no cable is plugged in, look for new cards on PCI."`
}

// Run is the program; it ends when ctx does.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var c commandLine
	if _, err := program.Parse("net", about, &c, args, stdout, stderr); err != nil {
		return err
	}
	o := link.Options{HostName: c.Name, Resolv: c.Resolv}
	if c.Rescan {
		o.Rescan = nic.Rescan
	}
	_, err := statefile.ReadBoot(c.State, &o.Settings)
	if errors.Is(err, fs.ErrNotExist) {
		// There is no default for a machine that does not know its mode: a guess
		// could put a private node's name on the wire.
		return fmt.Errorf("%w; init writes it at boot: name its folder with --state", err)
	}
	if err != nil {
		return err
	}
	var known []string // problems that are in the log already
	o.Report = func(n statefile.Net) {
		for _, p := range n.Problems {
			if !slices.Contains(known, p) {
				slog.Warn("problem: " + p)
			}
		}
		known = n.Problems
		if err := statefile.Write(c.State, statefile.NetFile, n); err != nil {
			slog.Error("the state of the network is not written", "err", err)
		}
	}
	slog.Info("bringing the wired interfaces up", "mode", string(o.Settings.Mode), "ip", o.Settings.IP.String())
	return link.NewManager(o).Run(ctx)
}
