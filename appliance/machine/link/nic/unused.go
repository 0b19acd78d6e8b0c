package nic

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"phase/appliance/base/statefile"
)

// busRoot is where the kernel lists what is plugged into each bus, see
// Documentation/ABI/testing/sysfs-bus-pci and sysfs-bus-usb.
const busRoot = "/sys/bus"

// maxUnused bounds what is said of a strange machine.
const maxUnused = 32

// advice is for cards that hypervisors give by default, or that are common, and
// that the kernels of a node have no driver for (kernel/pin.go). All of them
// have drivers for virtio-net and e1000e. IDs: the drivers of Linux
// (vmxnet3_defs.h, pcnet32.c, ne2k-pci.c, tulip_core.c, gve.h, mana), and
// 8139too.c, which leaves the 8139C+, as QEMU makes it, to a driver of its own.
var advice = map[string]struct{ name, instead string }{
	"15ad:07b0": {"VMware VMXNET3", `choose e1000e in its place (VMware: ethernet0.virtualDev = "e1000e"; QEMU: virtio-net-pci)`},
	"15ad:0720": {"VMware VMXNET", `choose e1000e in its place (VMware: ethernet0.virtualDev = "e1000e")`},
	"1022:2000": {"AMD PCnet, of VirtualBox, VMware (flexible) and QEMU", "choose virtio-net or Intel PRO/1000 (e1000, e1000e) in its place"},
	"10ec:8139": {"Realtek 8139C+, of QEMU", "choose virtio-net or e1000e in its place"},
	"10ec:8029": {"Realtek 8029, an NE2000, of QEMU", "choose virtio-net or e1000e in its place"},
	"1011:0009": {"DEC 21140, the legacy network adapter of Hyper-V", hyperV},
	"1011:0019": {"DEC 21143, of QEMU and Parallels", "choose virtio-net or e1000e in its place"},
	"1ae0:0042": {"Google gVNIC", "choose VIRTIO_NET as the type of the network card"},
	"1414:00ba": {"Microsoft Azure MANA", hyperV},
}

const hyperV = "no network card of Hyper-V has a driver in this kernel: run the node in a hypervisor that has virtio-net or e1000e (KVM, QEMU, VirtualBox, VMware)"

// another is what to put in, by the drivers of the kernel of an arch
// (docs/reference/drivers.md).
func another(goarch string) string {
	with := "Intel e1000e, igb, igc"
	if goarch == "amd64" {
		with += "; Realtek r8169"
	}
	return "put in one that has (" + with + "), in a virtual machine virtio-net or e1000e"
}

// ethernetUSB are the adapters that hide what they are behind the class of their
// maker: USB ids of the drivers asix, ax88179_178a, r8152, smsc75xx, smsc95xx and
// lan78xx of Linux.
var ethernetUSB = map[string]string{
	"0b95:1790": "ASIX AX88179", "0b95:178a": "ASIX AX88178A", "0b95:7720": "ASIX AX88772", "0b95:772a": "ASIX AX88772A", "0b95:772b": "ASIX AX88772B",
	"0bda:8152": "Realtek RTL8152", "0bda:8153": "Realtek RTL8153", "0bda:8155": "Realtek RTL8155", "0bda:8156": "Realtek RTL8156",
	"0424:7500": "SMSC LAN7500", "0424:9500": "SMSC LAN9500", "0424:9e00": "SMSC LAN9500A", "0424:ec00": "SMSC LAN9512", "0424:7800": "Microchip LAN7800", "0424:7850": "Microchip LAN7850",
}

// Unused lists the network cards of this machine that no driver has taken, and
// what to choose in their place.
func Unused() []statefile.Card { return unused(busRoot) }

func unused(root string) (list []statefile.Card) {
	list = append(list, unusedPCI(filepath.Join(root, "pci/devices"))...)
	list = append(list, unusedUSB(filepath.Join(root, "usb/devices"))...)
	list = append(list, unusedHyperV(root)...)
	return list[:min(len(list), maxUnused)]
}

func unusedPCI(dir string) (list []statefile.Card) {
	for _, name := range devices(dir) {
		at := filepath.Join(dir, name)
		// PCI Code and ID Assignment Specification: 0200 is Ethernet; radios are 0280.
		class, ok := number(at, "class", 6)
		vendor, vendorOK := number(at, "vendor", 4)
		device, deviceOK := number(at, "device", 4)
		if !ok || !vendorOK || !deviceOK || class>>8 != 0x0200 || driven(at) || pulled(at) {
			continue
		}
		c := statefile.Card{Bus: "pci", Address: name, ID: fmt.Sprintf("%04x:%04x", vendor, device), Instead: another(runtime.GOARCH)}
		if a, known := advice[c.ID]; known {
			c.Name, c.Instead = a.name, a.instead
		}
		list = append(list, c)
	}
	return list
}

// pulled says whether a PCI device answers no more. The kernels of a node keep it
// in the list: without HOTPLUG_PCI they do not hear that it has gone. Its
// configuration then reads as ones (PCI Local Bus Specification 3.0, 6.1).
func pulled(at string) bool {
	config, err := os.Open(filepath.Join(at, "config"))
	if err != nil {
		return false
	}
	defer config.Close()
	var vendor [2]byte
	_, err = io.ReadFull(config, vendor[:])
	return err == nil && vendor == [2]byte{0xff, 0xff}
}

// unusedUSB looks at the interfaces of the devices, which are called
// DEVICE:CONFIGURATION.INTERFACE, and which the drivers are for.
func unusedUSB(dir string) (list []statefile.Card) {
	for _, name := range devices(dir) {
		device, _, isInterface := strings.Cut(name, ":")
		at := filepath.Join(dir, name)
		if !isInterface || driven(at) {
			continue
		}
		vendor, vendorOK := number(filepath.Join(dir, device), "idVendor", 4)
		product, productOK := number(filepath.Join(dir, device), "idProduct", 4)
		class, ok := number(at, "bInterfaceClass", 2)
		sub, subOK := number(at, "bInterfaceSubClass", 2)
		protocol, protocolOK := number(at, "bInterfaceProtocol", 2)
		if !vendorOK || !productOK || !ok || !subOK || !protocolOK {
			continue
		}
		id := fmt.Sprintf("%04x:%04x", vendor, product)
		maker, known := ethernetUSB[id]
		if class != 0xff || !known {
			if maker = usbEthernet(class, sub, protocol); maker == "" {
				continue
			}
		}
		if len(list) == 0 || list[len(list)-1].Address != device {
			list = append(list, statefile.Card{Bus: "usb", Address: device, ID: id, Name: maker, Instead: another(runtime.GOARCH) + ", on PCI: this kernel has no driver for any on USB"})
		}
	}
	return list
}

// usbEthernet names what an interface is by its class, if that is a wired network
// card (USB Class Definitions for Communications Devices; the RNDIS of Microsoft
// has three).
func usbEthernet(class, sub, protocol uint64) string {
	switch {
	case class == 2 && sub == 6:
		return "USB Ethernet (CDC ECM)"
	case class == 2 && sub == 12:
		return "USB Ethernet (CDC EEM)"
	case class == 2 && sub == 13:
		return "USB Ethernet (CDC NCM)"
	case class == 2 && sub == 2 && protocol == 0xff, class == 0xe0 && sub == 1 && protocol == 3, class == 0xef && sub == 4 && protocol == 1:
		return "USB Ethernet (RNDIS)"
	}
	return ""
}

// unusedHyperV names the bus by which Hyper-V gives its network cards, when this
// kernel does not speak it: then no card can be seen, and the ACPI tables alone
// tell of the bus. Where it is spoken a card is a device of its class.
func unusedHyperV(root string) (list []statefile.Card) {
	const class = "{f8615163-df3e-46c5-913f-f2d2f965ed0e}" // HV_NIC_GUID of linux/hyperv.h
	card := statefile.Card{Bus: "vmbus", ID: "hv_netvsc", Name: "Hyper-V network adapter", Instead: hyperV}
	if vmbus := filepath.Join(root, "vmbus/devices"); exists(vmbus) {
		for _, name := range devices(vmbus) {
			if at := filepath.Join(vmbus, name); strings.EqualFold(text(at, "class_id"), class) && !driven(at) {
				card.Address = name
				list = append(list, card)
			}
		}
		return list
	}
	acpi := filepath.Join(root, "acpi/devices")
	for _, name := range devices(acpi) {
		if hid := text(filepath.Join(acpi, name), "hid"); strings.EqualFold(hid, "VMBUS") || hid == "MSFT1000" {
			card.Address = name
			return []statefile.Card{card}
		}
	}
	return nil
}

// Rescan has the kernel look for cards that were put into PCI since it started:
// the kernels of a node do not hear of them by themselves (HOTPLUG_PCI_PCIE is
// not set).
func Rescan() error {
	if err := os.WriteFile(filepath.Join(busRoot, "pci/rescan"), []byte("1"), 0); err != nil {
		return fmt.Errorf("looking for new cards on PCI: %w", err)
	}
	return nil
}

// Problem is a sentence about a card that is not used.
func Problem(c statefile.Card) string {
	name := ""
	if c.Name != "" {
		name = c.Name + ", "
	}
	return fmt.Sprintf("this kernel has no driver for the network card %s (%s%s %s): %s", c.ID, name, c.Bus, c.Address, c.Instead)
}

// Driver is the name of the driver of an interface, "" without one.
func Driver(iface string) string {
	target, err := os.Readlink(filepath.Join(classRoot, iface, "device/driver"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// devices are the names of what is on a bus, in order; none where there is no
// such bus.
func devices(dir string) (names []string) {
	entries, _ := os.ReadDir(dir) // a machine without the bus has nothing on it
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func driven(dir string) bool { return exists(filepath.Join(dir, "driver")) }

// text reads a file of a device, "" where there is none or more than 64 bytes.
func text(dir, file string) string {
	data, err := statefile.ReadCapped(filepath.Join(dir, file), 64)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func number(dir, file string, digits int) (uint64, bool) {
	return hex(text(dir, file), digits)
}

// hex reads a number of so many hex digits, with 0x before it or not.
func hex(s string, digits int) (uint64, bool) {
	s = strings.TrimPrefix(s, "0x")
	if len(s) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil
}
