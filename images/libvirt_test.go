package images

import (
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/base/tool"
)

// domain is what the examples for libvirt must say
// (https://libvirt.org/formatdomain.html).
type domain struct {
	XMLName xml.Name `xml:"domain"`
	Memory  struct {
		Unit string `xml:"unit,attr"`
		N    int    `xml:",chardata"`
	} `xml:"memory"`
	CPUs int `xml:"vcpu"`
	OS   struct {
		Firmware string `xml:"firmware,attr"`
		Type     struct {
			Arch    string `xml:"arch,attr"`
			Machine string `xml:"machine,attr"`
		} `xml:"type"`
	} `xml:"os"`
	Disks []struct {
		Driver struct {
			Type string `xml:"type,attr"`
		} `xml:"driver"`
		Source struct {
			File string `xml:"file,attr"`
		} `xml:"source"`
		Target struct {
			Bus string `xml:"bus,attr"`
		} `xml:"target"`
	} `xml:"devices>disk"`
	NICs []struct {
		Model struct {
			Type string `xml:"type,attr"`
		} `xml:"model"`
	} `xml:"devices>interface"`
	Serial   []struct{} `xml:"devices>serial"`
	RNG      []struct{} `xml:"devices>rng"`
	Watchdog []struct {
		Model  string `xml:"model,attr"`
		Action string `xml:"action,attr"`
	} `xml:"devices>watchdog"`
}

// The examples name the image that a build leaves, on devices that the kernel of
// a node has drivers for, and QEMU knows each machine and device they name.
func TestLibvirtExamples(t *testing.T) {
	need(t, "qemu-img")
	for _, arch := range names.Arches {
		data := read(t, "../docs/libvirt/phase-"+arch+".xml")
		var d domain
		if err := xml.Unmarshal(data, &d); err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if len(d.Disks) != 1 || len(d.NICs) != 1 || len(d.Serial) != 1 || len(d.RNG) != 1 || len(d.Watchdog) != 1 {
			t.Fatalf("%s: it lacks a device: %+v", arch, d)
		}
		disk := d.Disks[0]
		if filepath.Base(disk.Source.File) != filepath.Base(imagePath("", arch, disk.Driver.Type)) || disk.Driver.Type != "qcow2" {
			t.Errorf("%s: its disk is %s", arch, disk.Source.File)
		}
		if disk.Target.Bus != "virtio" || d.NICs[0].Model.Type != "virtio" {
			t.Errorf("%s: no virtio disk and network card", arch)
		}
		if (d.OS.Firmware == "efi") != (arch == "arm64") {
			t.Errorf("%s: firmware %q", arch, d.OS.Firmware)
		}
		if goes := map[string]string{"x86_64": "x86_64", "arm64": "aarch64"}[arch]; d.OS.Type.Arch != goes {
			t.Errorf("%s: arch %q", arch, d.OS.Type.Arch)
		}
		if d.Memory.Unit != "MiB" || d.Memory.N < 512 {
			t.Errorf("%s: %d %s of memory", arch, d.Memory.N, d.Memory.Unit)
		}
		known(t, d)
	}
}

// known starts QEMU with what a domain names, stopped, and ends it again.
func known(t *testing.T, d domain) {
	t.Helper()
	qemu, err := tool.Find("qemu-system-" + d.OS.Type.Arch)
	if err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	image := filepath.Join(t.TempDir(), "disk.qcow2")
	runTool(t, "qemu-img", "create", "-q", "-f", d.Disks[0].Driver.Type, image, "1M")
	cmd := exec.Command(qemu, "-S", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "stdio", "-accel", "tcg",
		"-machine", d.OS.Type.Machine, "-m", fmt.Sprint(d.Memory.N), "-smp", fmt.Sprint(d.CPUs),
		"-drive", "if=none,id=disk,format="+d.Disks[0].Driver.Type+",file="+image, "-device", d.Disks[0].Target.Bus+"-blk-pci,drive=disk",
		"-device", d.NICs[0].Model.Type+"-net-pci,romfile=", "-serial", "null", "-device", "virtio-rng-pci",
		"-device", d.Watchdog[0].Model, "-action", "watchdog="+d.Watchdog[0].Action)
	cmd.Stdin = strings.NewReader("quit\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", d.OS.Type.Arch, err, out)
	}
}
