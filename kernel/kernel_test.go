package kernel

import (
	"strings"
	"testing"
)

func TestKernels(t *testing.T) {
	for arch, console := range map[string]string{"x86_64": "ttyS0", "arm64": "ttyAMA0"} {
		k, err := For(arch)
		if err != nil || k.Arch != arch {
			t.Fatalf("%s: %+v, %v", arch, k, err)
		}
		// What the disk says must not be in what is signed, nor the reverse.
		for _, word := range []string{"root=", "init=", "phase.", "console=", "rootdelay"} {
			if strings.Contains(k.Cmdline(), word) {
				t.Errorf("%s: the signed command line holds %s", arch, word)
			}
		}
		line := k.DiskCmdline(k.Cmdline(), "b7e7e88c-a983-8234-bf20-15586b8c3986")
		if len(line) > 511 {
			t.Errorf("%s: %d bytes, the BIOS loader reads 512 and a NUL ends them", arch, len(line))
		}
		if first, last := strings.Index(line, "console=tty0 "), strings.Index(line, "console="+console); first < 0 || last < first {
			t.Errorf("%s: the serial port is not /dev/console in %q", arch, line)
		}
	}
	b, err := BoardFor("rpi")
	line := b.DiskCmdline("b7e7e88c-a983-8234-bf20-15586b8c3986")
	if err != nil || !strings.Contains(line, " console=tty1 console=serial0,115200 root=PARTUUID=b7e7e88c-a983-8234-bf20-15586b8c3986 ") || strings.Contains(line, "cma=") {
		t.Errorf("rpi: %q, %v", line, err)
	}
	if b, err := BoardFor("rpi9"); err == nil {
		t.Errorf("rpi9: %+v", b)
	}
	for _, arch := range []string{"", "amd64", "riscv64"} {
		if k, err := For(arch); err == nil {
			t.Errorf("%q: %+v", arch, k)
		}
	}
}
