package flash

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// class is where the kernel lists block devices, partitions among them.
const class = "/sys/class/block"

// Use is something that would be destroyed, or would destroy, if the device were
// written to.
type Use struct {
	Where  string `json:"where"`  // a mount point, "swap", or the device that is built on it
	Kind   string `json:"kind"`   // "mount", "swap" or "device"
	Device string `json:"device"` // which device that is: the disk, a partition, or what is built on them
}

// uses are those of all block devices, by device number.
type uses struct {
	of    map[uint64][]Use
	loops map[uint64][]string // loop devices whose content is that of another device
}

// findUses asks the kernel. What it uses in other mount namespaces it does not
// tell: that opening for oneself alone finds.
func findUses() (u uses, err error) {
	u = uses{map[uint64][]Use{}, map[uint64][]string{}}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(mounts)) {
		if number, at, ok := parseMount(line); ok {
			u.of[number] = append(u.of[number], Use{Where: at, Kind: "mount"})
		}
	}
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil && !os.IsNotExist(err) { // a kernel without swap has no such file
		return u, err
	}
	for line := range strings.Lines(string(swaps)) {
		if path, _, _ := strings.Cut(line, " "); strings.HasPrefix(path, "/") {
			if number, err := deviceBehind(unescape(path)); err == nil {
				u.of[number] = append(u.of[number], Use{Where: "swap", Kind: "swap"})
			}
		}
	}
	loops, err := filepath.Glob(class + "/loop*/loop/backing_file")
	for _, file := range loops {
		// Those of files are no users of their own: their file system is mounted.
		if number, isDevice, err := numberOf(word(file)); err == nil && isDevice {
			u.loops[number] = append(u.loops[number], filepath.Base(filepath.Dir(filepath.Dir(file))))
		}
	}
	return u, err
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)). A file system that
// has no device number of its own (btrfs) is found by what was mounted.
func parseMount(line string) (number uint64, at string, ok bool) {
	front, back, ok := strings.Cut(line, " - ")
	fields, behind := strings.Fields(front), strings.Fields(back)
	if !ok || len(fields) < 5 || len(behind) < 2 {
		return 0, "", false
	}
	at = unescape(fields[4])
	if number, ok = parseNumber(fields[2]); ok && unix.Major(number) != 0 {
		return number, at, true
	}
	number, isDevice, err := numberOf(unescape(behind[1]))
	return number, at, err == nil && isDevice
}

func parseNumber(text string) (uint64, bool) {
	major, minor, ok := strings.Cut(strings.TrimSpace(text), ":")
	a, err := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	return unix.Mkdev(uint32(a), uint32(b)), ok && err == nil && err2 == nil
}

// unescape undoes the octal escapes of /proc.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// numberOf is the number of a block device, or of that which a file lies on.
func numberOf(path string) (number uint64, isDevice bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, false, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return st.Rdev, true, nil
	}
	return st.Dev, false, nil
}

func deviceBehind(path string) (uint64, error) {
	number, _, err := numberOf(path)
	return number, err
}

// word is a file of sysfs without its line end; empty where there is none.
func word(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// find is who uses a device, its partitions, and what is built on them (RAID,
// volumes, encryption, loop devices), by the kernel's name.
func (u uses) find(name string) (found []Use) {
	u.collect(name, map[string]bool{}, &found)
	return found
}

func (u uses) collect(name string, seen map[string]bool, found *[]Use) {
	if seen[name] {
		return
	}
	seen[name] = true
	number, ok := parseNumber(word(filepath.Join(class, name, "dev")))
	if !ok {
		return
	}
	for _, use := range u.of[number] {
		use.Device = "/dev/" + name
		*found = append(*found, use)
	}
	for _, part := range partitionsOf(name) {
		u.collect(part, seen, found)
	}
	holders, _ := os.ReadDir(filepath.Join(class, name, "holders"))
	built := slices.Clone(u.loops[number])
	for _, h := range holders {
		built = append(built, h.Name())
	}
	for _, holder := range built {
		*found = append(*found, Use{Where: "/dev/" + holder, Kind: "device", Device: "/dev/" + name})
		u.collect(holder, seen, found)
	}
}

// partitionsOf are the kernel's names of a disk's partitions.
func partitionsOf(name string) (names []string) {
	files, _ := filepath.Glob(filepath.Join(class, name, name+"*", "partition"))
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	return names
}

// system are the mount points of what a running system cannot be without.
var system = []string{"/", "/boot", "/boot/efi", "/efi", "/usr", "/var", "/nix", "/gnu"}

// refuse says why a device that is in use is not written to; nothing may allow it.
func refuse(path string, found []Use) error {
	for _, use := range found {
		if use.Kind == "swap" || use.Kind == "mount" && slices.Contains(system, use.Where) {
			return fmt.Errorf("%s is the disk that this system runs from (%s): choose another one", path, use.Where)
		}
	}
	for _, use := range found {
		if use.Kind == "mount" {
			return fmt.Errorf("%s is mounted: unmount %s first", path, use.Where)
		}
	}
	for _, use := range found {
		return fmt.Errorf("%s is part of %s: take that out of use first", path, use.Where)
	}
	return nil
}
