// Package firmware reads what the kernel knows of the memory and the firmware of
// this machine, for the kernel that comes next. It lies below /sys and /proc
// (Documentation/ABI/testing/sysfs-firmware-memmap, sysfs-firmware-efi,
// sysfs-firmware-efi-runtime-map and sysfs-kernel-boot_params of Linux).
package firmware

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"phase/appliance/machine/kexecplan"
)

// e820Kinds are the names that /sys/firmware/memmap gives. What has another
// name is memory that the next kernel leaves alone.
var e820Kinds = map[string]uint32{
	"System RAM":                kexecplan.E820RAM,
	"ACPI Tables":               kexecplan.E820ACPI,
	"ACPI Non-volatile Storage": kexecplan.E820NVS,
}

// ReadX86 describes an x86_64 machine, without a Seed. root is "/", or a folder of
// a test.
func ReadX86(root string) (m kexecplan.X86, err error) {
	if m.BootParams, err = os.ReadFile(filepath.Join(root, "sys/kernel/boot_params/data")); err != nil {
		return m, fmt.Errorf("asking what the running kernel was started with: %w", err)
	}
	dir := filepath.Join(root, "sys/firmware/memmap")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return m, fmt.Errorf("asking for the map of the memory: %w", err)
	}
	for _, e := range entries {
		r := fields{dir: filepath.Join(dir, e.Name())}
		line := kexecplan.E820{Range: kexecplan.Range{Start: r.number("start"), End: r.number("end") + 1}, Kind: kexecplan.E820Reserved}
		if kind, ok := e820Kinds[r.text("type")]; ok {
			line.Kind = kind
		}
		if r.err == nil && line.End <= line.Start {
			r.err = fmt.Errorf("it ends before it begins")
		}
		if r.err != nil {
			return m, fmt.Errorf("asking for the map of the memory: %s: %w", r.dir, r.err)
		}
		m.Memory = append(m.Memory, line)
	}
	slices.SortFunc(m.Memory, func(a, b kexecplan.E820) int { return cmp.Compare(a.Start, b.Start) })
	err = readEFI(root, &m)
	return m, err
}

// readEFI asks for what the next kernel needs to use the firmware's runtime. A
// machine that was started by a BIOS has none of it; neither has one whose
// runtime the kernel does not use.
func readEFI(root string, m *kexecplan.X86) error {
	dir := filepath.Join(root, "sys/firmware/efi")
	entries, err := os.ReadDir(filepath.Join(dir, "runtime-map"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for the memory of the firmware: %w", err)
	}
	r := fields{dir: dir}
	efi := kexecplan.EFI{Vendor: r.number("fw_vendor"), ConfigTable: r.number("config_table")}
	for line := range strings.Lines(r.text("systab")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		at, err := strconv.ParseUint(value, 0, 64)
		switch {
		case err != nil:
		case name == "SMBIOS":
			efi.SMBIOS = at
		case name == "ACPI20", name == "ACPI" && m.RSDP == 0:
			m.RSDP = at
		}
	}
	if r.err != nil {
		return fmt.Errorf("asking the firmware: %w", r.err)
	}
	for i := range entries { // they are numbered, and the order counts
		r := fields{dir: filepath.Join(dir, "runtime-map", strconv.Itoa(i))}
		region := kexecplan.EFIRegion{Physical: r.number("phys_addr"), Virtual: r.number("virt_addr"), Pages: r.number("num_pages"), Attribute: r.number("attribute")}
		kind := r.number("type")
		if r.err == nil && kind > math.MaxUint32 {
			r.err = fmt.Errorf("type is %#x", kind)
		}
		if r.err != nil {
			return fmt.Errorf("asking for the memory of the firmware: %s: %w", r.dir, r.err)
		}
		region.Kind = uint32(kind)
		efi.Runtime = append(efi.Runtime, region)
	}
	if len(efi.Runtime) > 0 {
		m.EFI = &efi
	}
	return nil
}

// ReadARM64 describes an arm64 machine, without a Seed. root is as for ReadX86.
func ReadARM64(root string) (m kexecplan.ARM64, err error) {
	if m.DeviceTree, err = os.ReadFile(filepath.Join(root, "sys/firmware/fdt")); err != nil {
		return m, fmt.Errorf("asking for the device tree: %w", err)
	}
	iomem, err := os.ReadFile(filepath.Join(root, "proc/iomem"))
	if err != nil {
		return m, fmt.Errorf("asking for the map of the memory: %w", err)
	}
	m.RAM, m.Reserved, err = parseIomem(string(iomem))
	return m, err
}

// parseIomem reads the text of /proc/iomem: "40000000-5fffffff : System RAM"
// with the last byte's address, and indented below it what lies therein. Only
// root can read the addresses; others read zeros.
func parseIomem(text string) (ram, reserved []kexecplan.Range, err error) {
	for line := range strings.Lines(text) {
		where, name, ok := strings.Cut(strings.TrimSpace(line), " : ")
		if !ok || name != "System RAM" && name != "reserved" {
			continue
		}
		first, last, _ := strings.Cut(where, "-")
		start, e1 := strconv.ParseUint(first, 16, 64)
		end, e2 := strconv.ParseUint(last, 16, 64)
		if e1 != nil || e2 != nil || end < start || end == math.MaxUint64 {
			return nil, nil, fmt.Errorf("/proc/iomem: %q is no range", where)
		}
		r := kexecplan.Range{Start: start, End: end + 1}
		if name == "System RAM" {
			ram = append(ram, r)
		} else {
			reserved = append(reserved, r)
		}
	}
	if len(ram) == 0 || ram[len(ram)-1].End <= 1 {
		return nil, nil, fmt.Errorf("/proc/iomem tells of no memory; only root is told the addresses")
	}
	return ram, reserved, nil
}

// fields reads the small files of a folder; the first error stays.
type fields struct {
	dir string
	err error
}

func (f *fields) text(name string) string {
	if f.err != nil {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	f.err = err
	return strings.TrimSpace(string(data))
}

// number reads what C writes as 0x%llx or %u.
func (f *fields) number(name string) uint64 {
	text := f.text(name)
	if f.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		f.err = fmt.Errorf("%s is %q, which is no number", name, text)
	}
	return n
}
