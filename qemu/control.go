package qemu

import (
	"context"
	"fmt"
)

// event turns QEMU's events into the console's.
func (m *Machine) event(name string, data map[string]any) {
	text := func(key string) string { s, _ := data[key].(string); return s }
	switch name {
	case "RESET":
		m.Console.report(Reset, text("reason"))
	case "SHUTDOWN":
		m.Console.report(Shutdown, text("reason"))
	case "WATCHDOG":
		m.Console.report(Watchdog, text("action"))
	case "STOP":
		m.Console.report(Stopped, "")
	}
}

func (m *Machine) command(ctx context.Context, name string, args any) error {
	if err := m.current().monitor.command(ctx, name, args); err != nil {
		return fmt.Errorf("machine %q: %w", m.config.Name, err)
	}
	return nil
}

// PowerButton presses the power button once. The machine decides what it makes of it.
func (m *Machine) PowerButton(ctx context.Context) error {
	return m.command(ctx, "system_powerdown", nil)
}

// Reset presses the reset button.
func (m *Machine) Reset(ctx context.Context) error { return m.command(ctx, "system_reset", nil) }

// SetCarrier pulls the cable of NIC n (false) or puts it back.
func (m *Machine) SetCarrier(ctx context.Context, n int, up bool) error {
	return m.command(ctx, "set_link", link(n, up))
}

// Unplug pulls disk n out. Only a bus that expects it, as USB does, lets go of it at
// once.
func (m *Machine) Unplug(ctx context.Context, n int) error {
	return m.command(ctx, "device_del", map[string]any{"id": diskID(n)})
}

// PlugNIC puts NIC n into the running machine, which was Absent. Whether the machine notices is its own affair.
func (m *Machine) PlugNIC(ctx context.Context, n int) error {
	nic := m.config.NICs[n]
	args := map[string]any{"driver": nic.Model}
	for _, o := range nic.device(n) {
		args[o.key] = o.value
	}
	return m.command(ctx, "device_add", args)
}

func link(n int, up bool) map[string]any {
	return map[string]any{"name": nicID(n), "up": up}
}
