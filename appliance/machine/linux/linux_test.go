package linux

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMemory(t *testing.T) {
	m, err := ParseMemory([]byte("MemTotal:         465756 kB\nMemFree:          433508 kB\nMemAvailable:     435488 kB\nHugePages_Total:       0\n"))
	if err != nil || m.Total != 465756<<10 || m.Available != 435488<<10 {
		t.Errorf("got %+v, %v", m, err)
	}
	m, err = ParseMemory([]byte("MemTotal: 300 kB\nMemAvailable: 200 kB\nCmaTotal: 50 kB\nCmaFree: 40 kB\n"))
	if err != nil || m.Available != 160<<10 {
		t.Errorf("with memory set aside for devices: %+v, %v", m, err)
	}
	for _, bad := range []string{"", "MemTotal: 1 kB\n", "MemTotal: 1 kB\nMemAvailable: 1 MB\n", "MemTotal: -1 kB\nMemAvailable: 1 kB\n", "MemTotal: 1 kB\nMemAvailable: 9999999999999999 kB\n"} {
		if m, err := ParseMemory([]byte(bad)); err == nil {
			t.Errorf("%q is %+v", bad, m)
		}
	}
	if m, err := ReadMemory(); err != nil || m.Available <= 0 || m.Available > m.Total {
		t.Errorf("this machine has %+v, %v", m, err)
	}
}

// FuzzParseMemory states: figures that are accepted are sizes.
func FuzzParseMemory(f *testing.F) {
	f.Add([]byte("MemTotal: 1 kB\nMemAvailable: 1 kB"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseMemory(data); err == nil && (m.Total < 0 || m.Available < 0) {
			t.Errorf("%q is %+v", data, m)
		}
	})
}

func TestRecord(t *testing.T) {
	if r := Record("plasmd", "a\x1b[31m\nb\x00\u2028\u202e\xff"); r != "plasmd: a [31m b   \uFFFD" {
		t.Errorf("got %q", r)
	}
	long := Record("x", strings.Repeat("ä", 2000))
	if len(long) > 1000 || !strings.HasSuffix(long, "ä…") {
		t.Errorf("%d bytes, ends in %q", len(long), long[len(long)-8:])
	}
}

// A squashfs in a file is attached and mounted, and the loop device is free
// again once it is unmounted: the road of the initramfs.
func TestLoopMount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		t.Skip("needs mksquashfs (Debian: squashfs-tools)")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("this machine has no loop devices")
	}
	dir := t.TempDir()
	tree, image, target := filepath.Join(dir, "tree"), filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	for _, d := range []string{tree, target} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "hello"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mksquashfs", tree, image, "-quiet", "-no-progress").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	device, err := AttachLoop(f)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
		t.Skipf("loop devices cannot be used here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	m := Mount{Source: device.Name(), Target: target, Type: "squashfs", Flags: unix.MS_RDONLY}
	if err := m.Do(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		t.Skipf("squashfs cannot be mounted here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(target, "hello")); err != nil || string(data) != "x" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := Unmount(target); err != nil {
		t.Error(err)
	}
	if err := Unmount(target); err != nil {
		t.Errorf("unmounting what is not mounted: %v", err)
	}
}

func TestMountErrorsNameTheMount(t *testing.T) {
	errs := MountAll([]Mount{{Source: "none", Target: filepath.Join(t.TempDir(), "missing"), Type: "tmpfs"}})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "none (tmpfs) on") {
		t.Errorf("got %v", errs)
	}
}

func TestNoWatchdog(t *testing.T) {
	var w Watchdog
	if w.Name() != "none" || w.Pet() != nil || w.SetTimeout(1) != nil {
		t.Error("a machine without a watchdog has trouble with it")
	}
}

// A part is mapped from where it begins, which need not be where a page does.
func TestMapPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789"), 3000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range []Part{{f, 0, 30000}, {f, 5, 7}, {f, 4096, 4096}, {f, 12345, 30000 - 12345}} {
		data, unmap, err := p.Map()
		if err != nil || !bytes.Equal(data, content[p.At:p.At+p.Size]) {
			t.Fatalf("%d bytes at %d: %d bytes, %v", p.Size, p.At, len(data), err)
		}
		unmap()
	}
	if _, _, err := (Part{f, 0, 0}).Map(); err == nil {
		t.Error("nothing is mapped")
	}
}
