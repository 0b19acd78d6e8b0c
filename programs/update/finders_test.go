package update

import (
	"fmt"
	"testing"

	"phase/appliance/machine/settings"
)

// Each mode looks where it may, and nowhere else.
func TestFinders(t *testing.T) {
	for mode, want := range map[settings.Mode]string{
		settings.Internet: "[lan.Finder finder.Finder]",
		settings.Local:    "[lan.Finder]",
		settings.Private:  "[finder.Finder]",
	} {
		var kinds []string
		for _, f := range finders(mode, "/run/phase/plasmd.sock", "stable", "x86_64") {
			kinds = append(kinds, fmt.Sprintf("%T", f))
		}
		if fmt.Sprint(kinds) != want {
			t.Errorf("%s looks by %v, want %s", mode, kinds, want)
		}
	}
}
