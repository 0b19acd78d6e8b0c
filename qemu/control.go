package qemu

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"strings"
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
		m.stopped.Store(true)
		m.Console.report(Stopped, "")
	case "RESUME":
		if m.stopped.Swap(false) { // not the one that lets a new QEMU go
			m.Console.report(Resumed, "")
		}
	}
}

func (m *Machine) command(ctx context.Context, name string, args any, out any) error {
	if err := m.current().monitor.command(ctx, name, args, out); err != nil {
		return fmt.Errorf("machine %q: %w", m.config.Name, err)
	}
	return nil
}

// PowerButton presses the power button once. The machine decides what it makes of it.
func (m *Machine) PowerButton(ctx context.Context) error {
	return m.command(ctx, "system_powerdown", nil, nil)
}

// Reset presses the reset button.
func (m *Machine) Reset(ctx context.Context) error { return m.command(ctx, "system_reset", nil, nil) }

// Pause stops the machine's clock: to the others it is a node that does not answer any more.
func (m *Machine) Pause(ctx context.Context) error { return m.command(ctx, "stop", nil, nil) }

// Resume lets a paused machine go on.
func (m *Machine) Resume(ctx context.Context) error { return m.command(ctx, "cont", nil, nil) }

// SetCarrier pulls the cable of NIC n (false) or puts it back.
func (m *Machine) SetCarrier(ctx context.Context, n int, up bool) error {
	return m.command(ctx, "set_link", link(n, up), nil)
}

func link(n int, up bool) map[string]any {
	return map[string]any{"name": fmt.Sprintf("nic%d", n), "up": up}
}

// Screen is a picture of the screen. The machine needs Config.Screen.
func (m *Machine) Screen(ctx context.Context) (image.Image, error) {
	file := filepath.Join(m.dir, "screen.ppm")
	if err := m.command(ctx, "screendump", map[string]any{"filename": file}, nil); err != nil {
		return nil, err
	}
	defer os.Remove(file)
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("machine %q: reading the picture of its screen: %w", m.config.Name, err)
	}
	return decodePPM(b)
}

// decodePPM reads the one form of PPM that QEMU writes (P6, 8 bits a colour, see netpbm's ppm(5)).
func decodePPM(b []byte) (image.Image, error) {
	var w, h, depth int
	r := bytes.NewReader(b)
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &w, &h, &depth); err != nil {
		return nil, fmt.Errorf("reading a PPM picture: its header: %w", err)
	}
	pixels := b[len(b)-r.Len():]
	if depth != 255 || w < 1 || h < 1 || w > 1<<14 || h > 1<<14 || len(pixels) != 3*w*h {
		return nil, fmt.Errorf("reading a PPM picture: %d×%d, depth %d with %d bytes of pixels", w, h, depth, len(pixels))
	}
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.SetRGBA(i%w, i/w, color.RGBA{pixels[3*i], pixels[3*i+1], pixels[3*i+2], 255})
	}
	return img, nil
}

// ScreenText is what the VGA text console holds, 80 columns a line, also what has scrolled out of view but is still in
// the card's 32 KiB. Only a machine with a BIOS and Config.Screen is in text mode; with UEFI there is only Screen.
func (m *Machine) ScreenText(ctx context.Context) (string, error) {
	file := filepath.Join(m.dir, "screen.text")
	if err := m.command(ctx, "pmemsave", map[string]any{"val": 0xb8000, "size": 32 << 10, "filename": file}, nil); err != nil {
		return "", err
	}
	defer os.Remove(file)
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("machine %q: reading the text of its screen: %w", m.config.Name, err)
	}
	return decodeVGA(b), nil
}

// decodeVGA reads VGA text memory: a character and an attribute for each cell.
func decodeVGA(b []byte) string {
	var out strings.Builder
	for len(b) >= 160 {
		line := make([]byte, 0, 80)
		for i := 0; i < 160; i += 2 {
			c := b[i]
			if c < ' ' || c > '~' {
				c = ' '
			}
			line = append(line, c)
		}
		b = b[160:]
		out.Write(bytes.TrimRight(line, " "))
		out.WriteByte('\n')
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}
