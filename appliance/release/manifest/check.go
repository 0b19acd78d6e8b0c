package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/names"
)

// MaxCmdline is the longest command line that x86_64 and arm64 kernels take,
// without its final NUL: COMMAND_LINE_SIZE is 2048 on both.
const MaxCmdline = 2047

// check holds every bound of the format, for what is read and what is written.
func (m Manifest) check() error {
	if m.Version < 1 || m.Version > MaxVersion {
		return fmt.Errorf("version must be 1 to %d", uint64(MaxVersion))
	}
	if m.Name == "" || len(m.Name) > maxName || !printable(m.Name) {
		return fmt.Errorf("name must be 1 to %d printable ASCII characters", maxName)
	}
	if !slices.Contains(names.Channels, m.Channel) {
		return fmt.Errorf("channel %.32q is none of %s", m.Channel, strings.Join(names.Channels, ", "))
	}
	if !slices.Contains(names.Arches, m.Arch) {
		return fmt.Errorf("arch %.32q is none of %s", m.Arch, strings.Join(names.Arches, ", "))
	}
	if err := checkTime("created", m.Created); err != nil {
		return err
	}
	if err := checkTime("expires", m.Expires); err != nil {
		return err
	}
	if err := CheckCmdline(m.Cmdline); err != nil {
		return err
	}
	if len(m.Artifacts) > MaxArtifacts {
		return fmt.Errorf("%d artifacts, at most %d", len(m.Artifacts), MaxArtifacts)
	}
	for _, name := range Required {
		if a, ok := m.Artifacts[name]; !ok || a.Size < 1 {
			return fmt.Errorf("artifact %q is missing or empty", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Artifacts)) {
		if err := checkArtifactName(name); err != nil {
			return err
		}
		if size := m.Artifacts[name].Size; size < 0 || size > MaxArtifactSize {
			return fmt.Errorf("artifact %q: size must be 0 to %d", name, MaxArtifactSize)
		}
	}
	return nil
}

// checkTime keeps a time within what RFC 3339 writes in UTC and what a clock
// can show.
func checkTime(field string, t time.Time) error {
	if t = t.UTC(); t.Before(time.Unix(0, 0)) || t.Year() > 9999 {
		return fmt.Errorf("%s must be a time from 1970 to 9999", field)
	}
	return nil
}

// CheckCmdline refuses a manifest's command line that could redirect the boot:
// phase.*, init=, rdinit= and root= are not the release's to say, and neither
// a quote left open nor "--" may hide what is appended to it from the kernel.
func CheckCmdline(cmdline string) error {
	if len(cmdline) > MaxCmdline {
		return fmt.Errorf("cmdline has %d bytes, at most %d", len(cmdline), MaxCmdline)
	}
	if !printable(cmdline) {
		return errors.New("cmdline must be printable ASCII")
	}
	if strings.Count(cmdline, `"`)%2 != 0 {
		return errors.New("cmdline leaves a quote open")
	}
	// The kernel takes quotes off (lib/cmdline.c, next_arg), so "init=x" in
	// quotes is init=x. Splitting inside quotes too refuses more than it
	// must, and nothing less.
	for _, word := range strings.Fields(strings.ReplaceAll(cmdline, `"`, "")) {
		if word == "--" {
			return errors.New(`cmdline may not hold "--"`)
		}
		for _, taken := range []string{"phase.", "init=", "rdinit=", "root="} {
			if strings.HasPrefix(strings.ToLower(word), taken) {
				return fmt.Errorf("cmdline may not hold %.64q", word)
			}
		}
	}
	return nil
}

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
