package qemu

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
)

// Machine is one machine. It is on or off; its disks, variables and console history outlive a power cycle.
type Machine struct {
	// Console is the serial console, and all that happened to the machine.
	Console *Console

	config Config
	files  files
	dir    string

	mu      sync.Mutex
	process *process // the latest; nil before the first
	closed  bool

	close   func() error // works once
	unwatch func() bool
}

// Start switches a new machine on. It is closed when ctx ends; the caller closes it otherwise.
func Start(ctx context.Context, cfg Config) (*Machine, error) {
	cfg.Disks, cfg.NICs = slices.Clone(cfg.Disks), slices.Clone(cfg.NICs)
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Accel == "" {
		cfg.Accel = accelerator(ctx, cfg)
	}
	return start(ctx, cfg)
}

func start(ctx context.Context, cfg Config) (*Machine, error) {
	dir, err := os.MkdirTemp("", "phase-qemu-")
	if err != nil {
		return nil, fmt.Errorf("machine %q: making its folder: %w", cfg.Name, err)
	}
	m := &Machine{Console: newConsole(cfg.Console), config: cfg, dir: dir}
	m.close = sync.OnceValue(m.closeNow)
	if m.files, err = prepare(ctx, cfg, dir); err == nil {
		err = m.PowerOn(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	m.mu.Lock()
	m.unwatch = context.AfterFunc(ctx, func() { m.Close() })
	m.mu.Unlock()
	return m, nil
}

// Config is what the machine was started with, defaults filled in.
func (m *Machine) Config() Config { return m.config }

// Name is the machine's name.
func (m *Machine) Name() string { return m.config.Name }

// PowerOn switches a machine on that is off.
func (m *Machine) PowerOn(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("machine %q: it is closed", m.config.Name)
	}
	if m.process != nil {
		select {
		case <-m.process.done:
			m.process.kill("") // unplugs what is left of it
		default:
			return fmt.Errorf("machine %q: it is on already", m.config.Name)
		}
	}
	p, err := m.start(ctx)
	if err != nil {
		return err
	}
	m.process = p
	return nil
}

// Kill cuts the power: QEMU gets SIGKILL. What the guest had flushed to its disk is there at the next power on; what it
// had only written may be lost. Killing a machine
// that is off does nothing.
func (m *Machine) Kill() {
	if p := m.current(); p != nil {
		p.kill("power cut")
	}
}

// PowerCycle cuts the power and switches the machine on again, with the same disks, variables and MACs.
func (m *Machine) PowerCycle(ctx context.Context) error {
	m.Kill()
	return m.PowerOn(ctx)
}

// Close cuts the power for good and removes what the machine wrote, but for kept overlays and variables. A second call
// waits until the first has returned.
func (m *Machine) Close() error { return m.close() }

func (m *Machine) closeNow() error {
	m.mu.Lock()
	p, unwatch := m.process, m.unwatch
	m.closed = true
	m.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
	if p != nil {
		p.kill("closed")
	}
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("machine %q: removing its folder: %w", m.config.Name, err)
	}
	return nil
}

// Done is closed when the present power-on ends: a power-off by the guest, Kill, Close, or the end of QEMU. A restart by the
// guest does not end it.
func (m *Machine) Done() <-chan struct{} { return m.current().done }

// Wait waits until the machine is off. It returns an error when ctx ends first, or when QEMU failed.
func (m *Machine) Wait(ctx context.Context) error {
	p := m.current()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("waiting until machine %q is off: %w", m.config.Name, ctx.Err())
	}
}

func (m *Machine) current() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process
}

// Port is the segment's port of NIC n, for filters and partitions; another one after each power-on. nil when there is no such NIC.
func (m *Machine) Port(n int) *Port {
	if p := m.current(); n >= 0 && n < len(p.ports) {
		return p.ports[n]
	}
	return nil
}

// Addr is the IPv6 link-local address of the first NIC, as Linux derives it from its MAC; the zero Addr without a NIC.
func (m *Machine) Addr() netip.Addr {
	if len(m.config.NICs) == 0 {
		return netip.Addr{}
	}
	return EUI64(m.config.NICs[0].MAC)
}
