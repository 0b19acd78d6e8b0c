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

func link(n int, up bool) map[string]any {
	return map[string]any{"name": fmt.Sprintf("nic%d", n), "up": up}
}
