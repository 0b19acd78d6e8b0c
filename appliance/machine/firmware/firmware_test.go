package firmware

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"phase/appliance/machine/kexecplan"
)

// tree makes a folder with these files and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// pc is a machine as its kernel describes it.
func pc() map[string]string {
	return map[string]string{
		"sys/kernel/boot_params/data":  strings.Repeat("p", 4096),
		"sys/firmware/memmap/0/start":  "0x0\n",
		"sys/firmware/memmap/0/end":    "0x9fbff\n",
		"sys/firmware/memmap/0/type":   "System RAM\n",
		"sys/firmware/memmap/1/start":  "0x9fc00\n",
		"sys/firmware/memmap/1/end":    "0x9ffff\n",
		"sys/firmware/memmap/1/type":   "Reserved\n",
		"sys/firmware/memmap/10/start": "0x1ffdf000\n",
		"sys/firmware/memmap/10/end":   "0x1fffffff\n",
		"sys/firmware/memmap/10/type":  "ACPI Non-volatile Storage\n",
		"sys/firmware/memmap/2/start":  "0x100000\n",
		"sys/firmware/memmap/2/end":    "0x1ffdefff\n",
		"sys/firmware/memmap/2/type":   "System RAM\n",
		"sys/firmware/memmap/3/start":  "0xb0000000\n",
		"sys/firmware/memmap/3/end":    "0xbfffffff\n",
		"sys/firmware/memmap/3/type":   "Soft Reserved\n",
	}
}

func TestReadX86(t *testing.T) {
	files := pc()
	m, err := ReadX86(tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	want := []kexecplan.E820{
		{Range: kexecplan.Range{Start: 0, End: 0x9fc00}, Kind: kexecplan.E820RAM},
		{Range: kexecplan.Range{Start: 0x9fc00, End: 0xa0000}, Kind: kexecplan.E820Reserved},
		{Range: kexecplan.Range{Start: 0x100000, End: 0x1ffdf000}, Kind: kexecplan.E820RAM},
		{Range: kexecplan.Range{Start: 0x1ffdf000, End: 0x20000000}, Kind: kexecplan.E820NVS},
		{Range: kexecplan.Range{Start: 0xb0000000, End: 0xc0000000}, Kind: kexecplan.E820Reserved},
	}
	if !slices.Equal(m.Memory, want) || m.EFI != nil || m.RSDP != 0 || len(m.BootParams) != 4096 {
		t.Errorf("got %+v", m)
	}
	// The machine that tests run on, where it tells.
	if runtime.GOARCH == "amd64" && os.Geteuid() == 0 {
		if _, err := os.Stat("/sys/firmware/memmap/0"); err == nil {
			if m, err := ReadX86("/"); err != nil || len(m.Memory) == 0 {
				t.Errorf("this machine: %+v, %v", m, err)
			}
		}
	}
}

func TestReadEFI(t *testing.T) {
	files := pc()
	maps.Copy(files, map[string]string{
		"sys/firmware/efi/fw_vendor":               "0x1f9e8f98\n",
		"sys/firmware/efi/config_table":            "0x1f9ee018\n",
		"sys/firmware/efi/systab":                  "ACPI20=0x1fb7e014\nACPI=0x1fb7e000\nSMBIOS3=0x1f948000\nSMBIOS=0x1f94b000\n",
		"sys/firmware/efi/runtime-map/0/type":      "0x5\n",
		"sys/firmware/efi/runtime-map/0/phys_addr": "0x1f8ed000\n", "sys/firmware/efi/runtime-map/0/virt_addr": "0xfffffffeffeed000\n",
		"sys/firmware/efi/runtime-map/0/num_pages": "0x100\n", "sys/firmware/efi/runtime-map/0/attribute": "0x800000000000000f\n",
	})
	m, err := ReadX86(tree(t, files))
	want := &kexecplan.EFI{Vendor: 0x1f9e8f98, ConfigTable: 0x1f9ee018, SMBIOS: 0x1f94b000,
		Runtime: []kexecplan.EFIRegion{{Kind: 5, Physical: 0x1f8ed000, Virtual: 0xfffffffeffeed000, Pages: 0x100, Attribute: 0x800000000000000f}}}
	if err != nil || !reflect.DeepEqual(m.EFI, want) || m.RSDP != 0x1fb7e014 {
		t.Errorf("got %+v of %+v, %v", m.EFI, m, err)
	}
	for _, c := range []struct{ file, text, words string }{
		{"sys/firmware/efi/fw_vendor", "somewhere", "fw_vendor is \"somewhere\""},
		{"sys/firmware/efi/runtime-map/0/type", "0x100000000", "type is"},
		{"sys/firmware/efi/runtime-map/0/num_pages", "", "no number"},
		{"sys/firmware/memmap/3/end", "0x1", "ends before it begins"},
	} {
		damaged := maps.Clone(files)
		damaged[c.file] = c.text
		if _, err := ReadX86(tree(t, damaged)); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s is %q: %v", c.file, c.text, err)
		}
	}
	for _, gone := range []string{"sys/firmware/efi/fw_vendor", "sys/firmware/efi/runtime-map/0/attribute", "sys/kernel/boot_params/data", "sys/firmware/memmap/2/end"} {
		less := maps.Clone(files)
		delete(less, gone)
		if _, err := ReadX86(tree(t, less)); err == nil {
			t.Errorf("read without %s", gone)
		}
	}
}

const iomem = `00000000-00000000 : pnp
09000000-09000fff : pl011@9000000
40000000-5b88ffff : System RAM
  40210000-4219ffff : Kernel code
  421a0000-4388ffff : reserved
5b890000-5b8dffff : reserved
5b8e0000-5ffcffff : System RAM
4010000000-401fffffff : PCI ECAM
`

func TestParseIomem(t *testing.T) {
	ram, reserved, err := parseIomem(iomem)
	if err != nil || !slices.Equal(ram, []kexecplan.Range{{Start: 0x40000000, End: 0x5b890000}, {Start: 0x5b8e0000, End: 0x5ffd0000}}) ||
		!slices.Equal(reserved, []kexecplan.Range{{Start: 0x421a0000, End: 0x43890000}, {Start: 0x5b890000, End: 0x5b8e0000}}) {
		t.Errorf("got %x, %x, %v", ram, reserved, err)
	}
	for _, bad := range []string{"", "00000000-00000000 : System RAM\n", "2-1 : System RAM\n", "x-y : reserved\n", "0-ffffffffffffffff : System RAM"} {
		if ram, _, err := parseIomem(bad); err == nil {
			t.Errorf("%q is %x", bad, ram)
		}
	}
}

// FuzzParseIomem states: what is accepted are ranges with a beginning before their end.
func FuzzParseIomem(f *testing.F) {
	f.Add(iomem)
	f.Fuzz(func(t *testing.T, text string) {
		ram, reserved, err := parseIomem(text)
		for _, r := range append(ram, reserved...) {
			if err == nil && r.End <= r.Start {
				t.Errorf("%q has %x", text, r)
			}
		}
	})
}
