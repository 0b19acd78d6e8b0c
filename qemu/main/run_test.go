package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/program"
	"phase/qemu"
)

func TestEscape(t *testing.T) {
	var e escape
	text, ours := "", ""
	for _, in := range []string{"ls\r", "\x01", "x", "a\x01\x01b\x01p", "c"} { // the key may come apart from its ctrl-a
		a, b := e.split([]byte(in))
		text, ours = text+string(a), ours+string(b)
	}
	if text != "ls\ra\x01bc" || ours != "xp" {
		t.Errorf("typed %q, for us %q", text, ours)
	}
	e = escape{off: true}
	if a, b := e.split([]byte("\x01x")); string(a) != "\x01x" || len(b) != 0 {
		t.Errorf("from a pipe: %q, for us %q", a, b)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"run", 2, "--image"},
		{"run --image a --kernel b", 2, "can't be used together"},
		{"run --kernel k --arch mips --port 0", 2, "use x86_64 or arm64"},
		{"run --kernel k --keep f --port 0", 2, "no disk without --image"},
		{"run --image none.img --accel hvf --port 0", 1, "use tcg, kvm"},
		{"run --image none.img --port 0", 1, "no such file"},
		{"run --image none.img --port 99999", 1, "choose another with --port"},
	} {
		err := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), io.Discard, io.Discard)
		if code, _ := program.Code(err); code != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: code %d, %v; want %d and %q", c.args, code, err, c.code, c.want)
		}
	}
}

// bootSector writes OK on the serial port and switches the machine off (ACPI S5, at the port where SeaBIOS puts q35's
// PM1a control) as soon as something is typed: a whole machine in 30 bytes, so the command is tried without any kernel.
var bootSector = []byte{
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xb0, 'O', 0xee, // mov al, 'O'; out dx, al
	0xb0, 'K', 0xee,
	0xba, 0xfd, 0x03, // mov dx, 0x3fd
	0xec,       // wait: in al, dx
	0xa8, 0x01, // test al, 1
	0x74, 0xfb, // jz wait
	0xba, 0x04, 0x06, // mov dx, 0x604
	0xb8, 0x00, 0x20, // mov ax, 0x2000
	0xef, // out dx, ax
	0xf4, // hlt
}

func TestRunKeepsTheConsoleOnTheTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("a machine is a process of its own, which the race detector does not see")
	}
	if err := qemu.Available(qemu.X86_64, qemu.BIOS); err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	image := make([]byte, 1<<20)
	copy(image, bootSector)
	image[510], image[511] = 0x55, 0xaa
	name := filepath.Join(t.TempDir(), "boot.img")
	if err := os.WriteFile(name, image, 0o600); err != nil {
		t.Fatal(err)
	}
	in, typing := io.Pipe()
	out := &watch{want: []byte("OK"), seen: make(chan struct{})}
	done := make(chan error)
	var log bytes.Buffer
	go func() {
		done <- run(t.Context(), []string{"run", "--image", name, "--port", "0", "--memory", "64", "--accel", "tcg"}, in, out, &log)
	}()
	select {
	case <-out.seen:
	case err := <-done:
		t.Fatalf("it ended before the machine spoke: %v", err)
	}
	typing.Write([]byte("q"))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "http://127.0.0.1:") {
		t.Errorf("nobody was told where the machine is: %q", log.String())
	}
}

// watch closes seen once want was written.
type watch struct {
	all, want []byte
	seen      chan struct{}
	done      bool
}

func (w *watch) Write(p []byte) (int, error) {
	w.all = append(w.all, p...)
	if !w.done && bytes.Contains(w.all, w.want) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}
