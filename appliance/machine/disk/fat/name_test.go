package fat

import "testing"

// TestShortNames: readers that know no long names find every file whose name has
// eight letters and three, whatever its case.
func TestShortNames(t *testing.T) {
	for name, want := range map[string]struct {
		short string
		exact bool
	}{
		"README":           {"README     ", true},
		"BOOTX64.EFI":      {"BOOTX64 EFI", true},
		"bootcode.bin":     {"BOOTCODEBIN", false},
		"start4.elf":       {"START4  ELF", false},
		"kernel8.img":      {"KERNEL8 IMG", false},
		"vmlinuz":          {"VMLINUZ    ", false},
		"initramfs.img":    {"INITR~12IMG", false},
		"a.b.c":            {"AB~12   C  ", false},
		".x":               {"~12     X  ", false},
		"LICENSE.broadcom": {"LICEN~12BRO", false},
	} {
		if short, exact := shortName(name, 11); string(short[:]) != want.short || exact != want.exact {
			t.Errorf("%s: %q, exact %v", name, short, exact)
		}
	}
}
