package docs

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"phase/kernel"
)

// arches are the columns of the tables of drivers.
var arches = []string{"x86_64", "arm64"}

// driver is what a kernel says of a driver that is built in.
type driver struct {
	path, about string
	devices     bool // it names devices that it is for
}

// driversOf are those of a kernel by name, as it lists them itself
// (modules.builtin and modules.builtin.modinfo). Nothing is loaded later.
func driversOf(t *testing.T, arch string) map[string]driver {
	t.Helper()
	k, err := kernel.For(arch)
	if err != nil {
		t.Fatal(err)
	}
	download := exec.Command("go", "mod", "download", k.Module) // what `make image` has fetched is there already
	download.Dir = root
	if out, err := download.CombinedOutput(); err != nil {
		if os.Getenv("PHASE_REQUIRE") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("the kernel cannot be fetched: %v: %s", err, out)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", k.Module)
	list.Dir = root
	dir, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	at, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "lib/modules/*"))
	if err != nil || len(at) != 1 {
		t.Fatalf("%s has not one kernel: %v, %v", k.Module, at, err)
	}
	builtin, err := os.ReadFile(filepath.Join(at[0], "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile(filepath.Join(at[0], "modules.builtin.modinfo"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]driver{}
	for line := range strings.Lines(string(builtin)) {
		file := strings.TrimSuffix(strings.TrimSpace(line), ".ko")
		found[nameOf(file)] = driver{path: strings.TrimPrefix(file, "kernel/drivers/")}
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		name, key, _ := strings.Cut(key, ".")
		d, known := found[nameOf(name)]
		switch {
		case !known:
			continue
		case key == "description" && d.about == "":
			d.about = value
		case key == "alias" && regexp.MustCompile(`^(pci|usb|of|acpi\w*|virtio|xen|scsi|platform|block-major-\d+.*):|^mmc:`).MatchString(value):
			d.devices = true
		}
		found[nameOf(name)] = d
	}
	if len(found) < 100 {
		t.Fatalf("only %d drivers of %s were read", len(found), arch)
	}
	return found
}

// nameOf is how the kernel names a driver: with _ for -.
func nameOf(file string) string { return strings.ReplaceAll(path.Base(file), "-", "_") }

// drivers is the page of what each kernel has for network cards, disks and USB.
func drivers(t *testing.T) string {
	has := map[string]map[string]driver{}
	for _, arch := range arches {
		has[arch] = driversOf(t, arch)
	}
	var b strings.Builder
	b.WriteString("# Drivers\n\nWhat the kernels of a node have for network cards, disks and USB, by their own lists of what is built in; nothing is loaded later. What to\n" +
		"choose, and what was tried, is in [hardware.md](../hardware.md).\n")
	for _, group := range []struct{ title, folders string }{
		{"Network cards", `^net/(ethernet/|virtio_net|xen-netfront|usb/|hyperv/|vmxnet3/)`},
		{"Disks", `^(ata|nvme|scsi|block|mmc|ufs|message|hv)/`},
		{"USB", `^usb/(host|storage|dwc2|dwc3|musb|chipidea|isp1760|mtu3)/`},
		{"Watchdogs", `^watchdog/`},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| driver | what it says it is | x86_64 | arm64 |\n|---|---|---|---|\n", group.title)
		rows := map[string]string{}
		for _, arch := range arches {
			for name, d := range has[arch] {
				if regexp.MustCompile(group.folders).MatchString(d.path) && d.devices {
					rows[name] = fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, cell(d.about), yes(has["x86_64"], name), yes(has["arm64"], name))
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(rows)) {
			b.WriteString(rows[name])
		}
	}
	return b.String()
}

func yes(has map[string]driver, name string) string {
	if _, ok := has[name]; ok {
		return "yes"
	}
	return "no"
}

// TestHardwarePage: what docs/hardware.md says of a driver is so. Its rows end with
// the driver, and whether x86_64 and arm64 have it.
func TestHardwarePage(t *testing.T) {
	has := map[string]map[string]driver{}
	for _, arch := range arches {
		has[arch] = driversOf(t, arch)
	}
	row, rows := regexp.MustCompile("(?m)^\\| (.*) \\| `(\\w+)` \\| (yes|no) \\| (yes|no) \\|$"), 0
	const page = "docs/hardware.md"
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		rows++
		if x86, arm := yes(has["x86_64"], m[2]), yes(has["arm64"], m[2]); m[3] != x86 || m[4] != arm {
			t.Errorf("%s: %s by %s: x86_64 %s, arm64 %s; the kernels say %s and %s", page, m[1], m[2], m[3], m[4], x86, arm)
		}
	}
	if rows < 20 {
		t.Errorf("only %d rows were read", rows)
	}
}
