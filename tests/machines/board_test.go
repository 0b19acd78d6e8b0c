package machines

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"phase/appliance/machine/disk"
	"phase/appliance/machine/disk/flash"
	"phase/kernel"
	"phase/qemu"
)

// emulated are words for a kernel on QEMU's Raspberry Pi 3: it has no FIQ for USB
// and no virtual GPIO, its watchdog resets the machine as soon as it is armed, and
// the firmware that would name the serial port is not there.
const emulated = "console=ttyS0,115200 dwc_otg.fiq_enable=0 dwc_otg.fiq_fsm_enable=0 initcall_blacklist=brcmvirt_gpio_driver_init,bcm2835_wdt_driver_init"

// TestRaspberryPi: the disk for the board starts on QEMU's Raspberry Pi 3, with the
// kernel, device tree and command line that the firmware would take from it, from an
// SD card, and becomes a node with a network and the release it serves. What the
// firmware itself does, no emulator has.
func TestRaspberryPi(t *testing.T) {
	long(t)
	t.Parallel()
	if err := qemu.Available(qemu.ARM64, qemu.UEFI); err != nil {
		missing(t, err)
	}
	built, err := os.Open(filepath.Join(build(), "phase-arm64-rpi.img"))
	if err != nil {
		t.Skip("make image ARCH=arm64 BOARD=rpi makes it: ", err)
	}
	defer built.Close()
	b, err := kernel.BoardFor("rpi")
	if err != nil {
		t.Fatal(err)
	}
	image, err := flash.OpenImage(built)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	take := func(name string) (data []byte, path string) {
		file, err := image.File(name)
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(file); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return data, path
	}
	_, started := take(b.Started)
	_, tree := take("bcm2710-rpi-3-b.dtb")
	line, _ := take(disk.CmdlineFile)
	card := filepath.Join(dir, "card.img")
	run(t, "cp", "--sparse=always", built.Name(), card)
	if err := os.Truncate(card, 512<<20); err != nil { // QEMU's cards have a power of two
		t.Fatal(err)
	}
	console := filepath.Join(dir, "console")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	machine := exec.CommandContext(ctx, "qemu-system-aarch64", "-M", "raspi3b", "-kernel", started, "-dtb", tree,
		"-append", strings.Replace(strings.TrimSpace(string(line)), "console=serial0,115200", emulated, 1),
		"-drive", "file="+card+",if=sd,format=raw", "-netdev", "user,id=n0,restrict=on", "-device", "usb-net,netdev=n0",
		"-serial", "null", "-serial", "file:"+console, "-display", "none", "-no-reboot")
	var said bytes.Buffer
	machine.Stderr = &said
	if err := machine.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- machine.Wait() }()
	defer func() { cancel(); <-ended }()
	for _, pattern := range []string{
		`net: has an address by DHCP`, `plasmd: serving http on`, `plasmd: holds release stable/arm64 version \d+ `, `init: plasmd answers`,
	} {
		want := regexp.MustCompile(pattern)
		for ticker := time.Tick(100 * time.Millisecond); ; {
			text, _ := os.ReadFile(console)
			if want.Match(text) {
				break
			}
			select {
			case <-ticker:
			case err := <-ended:
				ended <- err
				t.Fatalf("it ended before %q: %v %s\n%s", pattern, err, said.String(), text)
			}
		}
	}
}
