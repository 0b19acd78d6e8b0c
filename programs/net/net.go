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

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/link"
	"phase/appliance/machine/settings"
)

const about = "Bring the machine's wired interfaces up and keep them so (the machine's own service; needs root)."

type commandLine struct {
	State  string `short:"s" default:"/run/phase" placeholder:"DIR" help:"The folder of boot.json, which is read, and net.json, which is written (${default})."`
	Resolv string `short:"r" default:"/tmp/resolv.conf" placeholder:"FILE" help:"Where the name servers are written (${default})."`
	Name   string `short:"n" placeholder:"NAME" help:"Tell DHCP servers this name; without it, and in private mode, they are told none."`
}

// Run is the program; it ends when ctx does.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var c commandLine
	if _, err := program.Parse("net", about, &c, args, stdout, stderr); err != nil {
		return err
	}
	options, err := readBoot(c.State)
	if err != nil {
		return err
	}
	o := linkOptions(options, c.Name)
	o.Resolv = c.Resolv
	r := reporter{dir: c.State, log: slog.Default()}
	o.Report = r.report
	slog.Info("bringing the wired interfaces up", "mode", string(options.Mode), "ip", options.IP.String())
	return link.NewManager(o).Run(ctx)
}

// readBoot reads how to behave. There is no default for a machine that does
// not know its mode: a guess could put a private node's name on the wire.
func readBoot(dir string) (settings.Options, error) {
	var b statefile.Boot
	if err := statefile.Read(dir, statefile.BootFile, &b); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return settings.Options{}, fmt.Errorf("%w; init writes it at boot: name its folder with --state", err)
		}
		return settings.Options{}, err
	}
	var options settings.Options
	if err := strictjson.Unmarshal(b.Options, &options, strictjson.RejectUnknown); err != nil {
		return options, fmt.Errorf("reading the options in %s: %w", statefile.BootFile, err)
	}
	return options, nil
}

// linkOptions is what a mode means on the wire, formats §7.
func linkOptions(b settings.Options, name string) link.Options {
	o := link.Options{
		OnLink:    b.Mode == settings.Local,
		Anonymous: b.Mode == settings.Private,
		HostName:  name,
	}
	if !b.IP.DHCP() {
		o.Static = &link.Static{Address: b.IP.Address, Gateway: b.IP.Gateway, DNS: b.IP.DNS}
	}
	return o
}

// reporter writes net.json, and logs each problem when it is new.
type reporter struct {
	dir   string
	log   *slog.Logger
	known map[string]bool
}

func (r *reporter) report(s link.Status) {
	now := make(map[string]bool)
	for _, p := range s.Problems {
		now[p] = true
		if !r.known[p] {
			r.log.Warn("problem: " + p)
		}
	}
	r.known = now
	if err := statefile.Write(r.dir, statefile.NetFile, netState(s)); err != nil {
		r.log.Error("the state of the network is not written", "err", err)
	}
}

func netState(s link.Status) statefile.Net {
	n := statefile.Net{Interfaces: []statefile.Interface{}, Problems: append([]string{}, s.Problems...)}
	for _, i := range s.Interfaces {
		out := statefile.Interface{Name: i.Name, MAC: i.MAC, Up: i.Up, Addresses: []string{}, Method: string(i.Method)}
		for _, a := range i.Addresses {
			out.Addresses = append(out.Addresses, a.String())
		}
		n.Interfaces = append(n.Interfaces, out)
	}
	return n
}
