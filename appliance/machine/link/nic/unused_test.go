package nic

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// device makes what the kernel shows of a device on a bus, of "file value" words.
func device(t *testing.T, root, at string, files ...string) {
	t.Helper()
	for _, f := range files {
		name, value, _ := strings.Cut(f, " ")
		path := filepath.Join(root, at, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnused(t *testing.T) {
	root := t.TempDir()
	pci := func(name, class, vendor, product string, more ...string) {
		device(t, root, "pci/devices/"+name, append(more, "class "+class, "vendor "+vendor, "device "+product)...)
	}
	pci("0000:00:01.0", "0x030000", "0x1234", "0x1111")           // a screen
	pci("0000:00:02.0", "0x020000", "0x1af4", "0x1041", "driver") // in use
	pci("0000:00:03.0", "0x020000", "0x15ad", "0x07b0")
	pci("0000:00:04.0", "0x028000", "0x8086", "0x2723") // a radio
	pci("0000:00:05.0", "0x020000", "0xabcd", "0x0001", "config \xcd\xab\x01")
	pci("0000:00:07.0", "0x020000", "0xabcd", "0x0003", "config \xff\xff\xff\xff") // was pulled out
	pci("0000:00:06.0", "0x02zz00", "0xabcd", "0x0002")                            // no number
	usb := func(name, ids string) {
		vendor, product, _ := strings.Cut(ids, ":")
		device(t, root, "usb/devices/"+name, "idVendor "+vendor, "idProduct "+product)
	}
	face := func(name, class, sub, protocol string, more ...string) {
		device(t, root, "usb/devices/"+name, append(more, "bInterfaceClass "+class, "bInterfaceSubClass "+sub, "bInterfaceProtocol "+protocol)...)
	}
	usb("1-1", "0525:a4a2")
	face("1-1:1.0", "02", "06", "00")
	face("1-1:1.1", "0a", "00", "00")
	usb("1-2", "0bda:8153")
	face("1-2:1.0", "ff", "ff", "00")
	usb("1-3", "0bda:8153")
	face("1-3:1.0", "ff", "ff", "00", "driver")
	usb("1-4", "1a2b:0003") // something of its maker's own
	face("1-4:1.0", "ff", "ff", "00")
	device(t, root, "acpi/devices/VMBUS:00", "hid VMBus")
	var got []string
	for _, c := range unused(root) {
		got = append(got, Problem(c))
	}
	want := []string{"15ad:07b0 (VMware VMXNET3, pci 0000:00:03.0): choose e1000e", "abcd:0001 (pci 0000:00:05.0): put in one",
		"0525:a4a2 (USB Ethernet (CDC ECM), usb 1-1): put in", "0bda:8153 (Realtek RTL8153, usb 1-2): put in",
		"hv_netvsc (Hyper-V network adapter, vmbus VMBUS:00): no network card of Hyper-V"}
	if len(got) != len(want) {
		t.Fatalf("%d cards: %q", len(got), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], "this kernel has no driver for the network card "+want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	// A kernel that speaks VMBus sees the cards themselves.
	device(t, root, "vmbus/devices/a", "class_id {f8615163-df3e-46c5-913f-f2d2f965ed0e}", "driver")
	device(t, root, "vmbus/devices/b", "class_id {ba6163d9-04a1-4d29-b605-72e2ffb1dc7f}")
	if got := unusedHyperV(root); len(got) != 0 {
		t.Errorf("a card that is in use, and a disk: %+v", got)
	}
	device(t, root, "vmbus/devices/c", "class_id {F8615163-DF3E-46C5-913F-F2D2F965ED0E}")
	if got := unusedHyperV(root); len(got) != 1 || got[0].Address != "c" {
		t.Errorf("%+v", got)
	}
	// A machine of hundreds, and one whose files are endless.
	for i := range 2 * maxUnused {
		pci(fmt.Sprintf("0001:00:%02x.0", i), "0x020000", "0xabcd", "0x0001")
	}
	pci("0002:00:00.0", "0x020000"+strings.Repeat("0", 1<<20), "0xabcd", "0x0001")
	if got := unused(root); len(got) != maxUnused {
		t.Errorf("%d cards are listed, want %d", len(got), maxUnused)
	}
	if got := unused(filepath.Join(root, "none")); len(got) != 0 {
		t.Errorf("cards where there is no bus: %+v", got)
	}
}

// FuzzUnused: whatever the files of a device hold, a card that is named has an id
// of its two numbers, and its sentence is one line.
func FuzzUnused(f *testing.F) {
	f.Add("0x020000\n", "0x15ad\n", "0x07b0\n", "02", "06")
	f.Add("02", "0x", "-1", "ff", "")
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, class, vendor, product, face, sub string) {
		dir := filepath.Join(root, fmt.Sprint(os.Getpid()))
		for path, value := range map[string]string{
			"pci/devices/p/class": class, "pci/devices/p/vendor": vendor, "pci/devices/p/device": product,
			"usb/devices/1-1/idVendor": vendor, "usb/devices/1-1/idProduct": product, "usb/devices/1-1:1.0/bInterfaceClass": face,
			"usb/devices/1-1:1.0/bInterfaceSubClass": sub, "usb/devices/1-1:1.0/bInterfaceProtocol": sub,
			"acpi/devices/V/hid": vendor,
		} {
			at := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, []byte(value), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range unused(dir) {
			var maker, model uint16
			if n, err := fmt.Sscanf(c.ID, "%04x:%04x", &maker, &model); c.Bus != "vmbus" && (err != nil || n != 2 || len(c.ID) != 9) || strings.ContainsAny(Problem(c), "\n\r") {
				t.Errorf("%+v: %q", c, Problem(c))
			}
		}
	})
}

// TestAnother: no card is advised for which the kernel of that arch has no driver, as
// its own list says (docs/reference/drivers.md, columns driver, what, x86_64, arm64).
func TestAnother(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/reference/drivers.md")
	if err != nil {
		t.Fatal(err)
	}
	for column, goarch := range map[int]string{3: "amd64", 4: "arm64"} {
		checked := 0
		for line := range strings.Lines(string(page)) {
			cells := strings.Split(line, "|")
			if len(cells) < 6 {
				continue
			}
			driver := strings.Trim(cells[1], " `")
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(driver) + `\b`).MatchString(another(goarch)) {
				continue
			}
			if checked++; strings.TrimSpace(cells[column]) != "yes" {
				t.Errorf("%s: advises %s, which the kernel has not", goarch, driver)
			}
		}
		if checked < 3 {
			t.Errorf("%s: only %d of the drivers in %q are in the list", goarch, checked, another(goarch))
		}
	}
}
