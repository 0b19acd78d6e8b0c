package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/machine/settings"
	"phase/appliance/release/layout"
)

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
	if err := settings.CheckCmdline(m.Cmdline); err != nil {
		return err
	}
	if r := m.Rollout; r != nil {
		if r.Percent < 0 || r.Percent > 100 {
			return fmt.Errorf("rollout: percent must be 0 to 100")
		}
		if len(r.Seed) > maxSeed || !printable(r.Seed) {
			return fmt.Errorf("rollout: seed must be at most %d printable ASCII characters", maxSeed)
		}
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
		if err := layout.CheckArtifactName(name); err != nil {
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

func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
