package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// guest is a kernel and an initramfs with tests/guests/init.
type guest struct{ kernel, initrd, cmdline string }

var (
	guestDir  string
	guestOnce = map[string]*sync.Once{X86_64: {}, ARM64: {}}
	guests    = map[string]guest{}
	guestErr  = map[string]error{}
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "phase-qemu-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	guestDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// need skips the test when QEMU or the firmware is not installed; with PHASE_REQUIRE set it fails instead.
func need(t testing.TB, arch string, fw Firmware) {
	t.Helper()
	if testing.Short() {
		t.Skip("a machine is a process of its own, which the race detector does not see")
	}
	err := Available(arch, fw)
	switch {
	case err != nil && os.Getenv("PHASE_REQUIRE") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
}

func guestFor(t testing.TB, arch string) guest {
	t.Helper()
	need(t, arch, Bare)
	guestOnce[arch].Do(func() { guests[arch], guestErr[arch] = buildGuest(arch) })
	if err := guestErr[arch]; err != nil {
		t.Fatal(err)
	}
	return guests[arch]
}

func buildGuest(arch string) (guest, error) {
	goarch, console := "amd64", "no_timer_check console=ttyS0" // the timer of an emulator that may get no time
	if arch == ARM64 {
		goarch, console = "arm64", "console=ttyAMA0"
	}
	module := "github.com/gokrazy/kernel." + goarch
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return guest{}, fmt.Errorf("finding the kernel: %w", err)
	}
	if len(bytes.TrimSpace(dir)) == 0 {
		return guest{}, fmt.Errorf("the kernel is not here: go mod download %s", module)
	}
	init := filepath.Join(guestDir, "init-"+arch)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "phase/tests/guests/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch)
	if out, err := build.CombinedOutput(); err != nil {
		return guest{}, fmt.Errorf("building the test's init: %w: %s", err, out)
	}
	b, err := os.ReadFile(init)
	if err != nil {
		return guest{}, err
	}
	g := guest{
		kernel:  filepath.Join(strings.TrimSpace(string(dir)), "vmlinuz"),
		initrd:  init + ".cpio",
		cmdline: "console=tty0 " + console + ",115200 panic=1 loglevel=7",
	}
	return g, os.WriteFile(g.initrd, cpio(b), 0o644)
}

// cpio writes a newc archive (Linux, Documentation/driver-api/early-userspace/buffer-format.rst) with /init and /dev/console.
func cpio(init []byte) []byte {
	var b bytes.Buffer
	entry := func(name string, mode, major, minor int, data []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", b.Len()+1, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.Write(data)
		b.Write(make([]byte, -b.Len()&3))
	}
	entry("dev", 0o040755, 0, 0, nil)
	entry("dev/console", 0o020600, 5, 1, nil)
	entry("init", 0o100755, 0, 0, init)
	entry("TRAILER!!!", 0, 0, 0, nil)
	return b.Bytes()
}

// boot starts a machine with the test's init and waits until it is ready.
func boot(t testing.TB, cfg Config) *Machine {
	t.Helper()
	if cfg.Arch == "" {
		cfg.Arch = X86_64
	}
	need(t, cfg.Arch, cfg.Firmware)
	g := guestFor(t, cfg.Arch)
	cfg.Kernel, cfg.Initrd, cfg.Cmdline = g.kernel, g.initrd, g.cmdline
	if cfg.Name == "" {
		cfg.Name = t.Name()
	}
	m, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	wait(t, m, Event{Index: -1}, "^init: ready")
	return m
}

func wait(t testing.TB, m *Machine, after Event, pattern string) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	e, err := m.Console.WaitAfter(ctx, after, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// do types a command on the console and returns the answer.
func do(t testing.TB, m *Machine, command string) string {
	t.Helper()
	last := m.Console.Last()
	if _, err := io.WriteString(m.Console, command+"\n"); err != nil {
		t.Fatal(err)
	}
	word := "init: " + strings.Fields(command)[0] + ": "
	return strings.TrimPrefix(wait(t, m, last, "^"+word).Text, word)
}

func get(t testing.TB, client *http.Client, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func segment(t testing.TB) *Segment {
	t.Helper()
	s, err := NewSegment()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func eachArch(t *testing.T, f func(t *testing.T, arch string)) {
	for _, arch := range []string{X86_64, ARM64} {
		t.Run(arch, func(t *testing.T) { f(t, arch) })
	}
}

func TestMachineIsReachedOverTheSegment(t *testing.T) {
	eachArch(t, func(t *testing.T, arch string) {
		s := segment(t)
		m := boot(t, Config{Arch: arch, MemoryMB: 256, NICs: []NIC{{Segment: s}}})
		got := get(t, s.HTTPClient(), "http://["+m.Addr().String()+"]:8080")
		if want := "hello [" + s.observer.Addr6().String(); !strings.HasPrefix(got, want) {
			t.Errorf("the machine answered %q, want it to begin with %q", got, want)
		}
		if addrs := m.Port(0).Addrs(); len(addrs) == 0 || addrs[0] != m.Addr() {
			t.Errorf("the switch saw %v, want %v", addrs, m.Addr())
		}
		e := wait(t, m, Event{Index: -1}, "Linux version")
		if e.Kernel != 0 || e.After <= 0 {
			t.Errorf("times of the kernel's first line: %v and %v", e.Kernel, e.After)
		}
	})
}
