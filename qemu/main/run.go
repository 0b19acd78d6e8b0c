package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/qemu"
)

type cli struct {
	Run runCmd `cmd:"" help:"Start a machine and stay on its console until it is off. ctrl-a x cuts the power, ctrl-a ? lists the other keys."`
}

type runCmd struct {
	Image    string `help:"Disk image to boot, raw or qcow2. It is not changed." xor:"what" required:"" type:"path"`
	Kernel   string `help:"Kernel to boot without a disk and without firmware." xor:"what" required:"" type:"path"`
	Initrd   string `help:"Initial RAM disk for --kernel." type:"path"`
	Cmdline  string `help:"Command line for --kernel."`
	Keep     string `help:"File that keeps what the machine writes to its disk, for the next run (a qcow2 overlay over --image)." type:"path"`
	Arch     string `help:"x86_64 or arm64." default:"x86_64"`
	Firmware string `help:"bios or uefi; otherwise what fits the architecture."`
	Memory   int    `help:"Memory in MB." default:"512"`
	Port     int    `help:"Port on 127.0.0.1 that leads to the machine's HTTP; 0 takes a free one." default:"8080"`
	Capture  string `help:"File for all frames of the segment, as pcap." type:"path"`
	Accel    string `help:"tcg (emulation) or kvm; otherwise KVM, when a trial boot shows that it works."`
	Watchdog bool   `help:"Give the machine a hardware watchdog."`
}

// run is the program. It ends with success when the machine switched itself off or the person cut the power.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c cli
	if _, err := program.Parse("qemu", "Starts Phase machines in QEMU.", &c, args, stdout, stderr); err != nil {
		return err
	}
	return c.Run.run(ctx, stdin, stdout, stderr)
}

func (c *runCmd) config(console io.Writer, s *qemu.Segment) (qemu.Config, error) {
	arch, err := names.ParseArch(c.Arch)
	if err != nil {
		return qemu.Config{}, program.Usagef("--arch: %q is not known; use x86_64 or arm64", c.Arch)
	}
	cfg := qemu.Config{Name: "run", Arch: arch, Firmware: qemu.Firmware(c.Firmware), MemoryMB: c.Memory, Kernel: c.Kernel,
		Initrd: c.Initrd, Cmdline: c.Cmdline, NICs: []qemu.NIC{{Segment: s}}, Watchdog: c.Watchdog, Accel: c.Accel, Console: console}
	if c.Image != "" {
		cfg.Disks = []qemu.Disk{{Path: c.Image, Overlay: c.Keep}}
	} else if c.Keep != "" {
		return qemu.Config{}, program.Usagef("--keep: there is no disk without --image")
	}
	return cfg, nil
}

func (c *runCmd) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	s, err := qemu.NewSegment()
	if err != nil {
		return err
	}
	defer s.Close()
	cfg, err := c.config(stdout, s)
	if err != nil {
		return err
	}
	if c.Capture != "" {
		f, err2 := os.Create(c.Capture)
		if err2 != nil {
			return fmt.Errorf("making the capture file: %w", err2)
		}
		stop, err2 := s.Capture(f)
		if err2 != nil {
			return errors.Join(fmt.Errorf("beginning the capture: %w", err2), f.Close())
		}
		defer func() { err = errors.Join(err, stop(), f.Close()) }()
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("opening the port to the machine: %w; choose another with --port", err)
	}
	defer listener.Close()
	t, err := openTerminal(stdin, stderr)
	if err != nil {
		return err
	}
	defer t.restore()
	t.say("http://%s leads to the machine; ctrl-a x cuts its power, ctrl-a ? lists the keys", listener.Addr())
	m, err := qemu.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Close()
	go forward(ctx, listener, m, s)
	go t.report(ctx, m, qemu.Event{Index: -1})
	go t.read(m)
	return t.until(ctx, m)
}
