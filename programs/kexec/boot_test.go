package kexec

import (
	"testing"

	"phase/appliance/machine/settings"
)

// TestMayTry: at power-on a release that is not good yet is tried only where and when
// the owner lets it be.
func TestMayTry(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*settings.Options)
		watchdog string
		may      bool
	}{
		"default":                {func(*settings.Options) {}, "none", true},
		"updates off":            {func(o *settings.Options) { o.Update = false }, "none", false},
		"never":                  {func(o *settings.Options) { o.Window = settings.Never }, "none", false},
		"garbage":                {func(o *settings.Options) { o.Window = "x" }, "none", false},
		"no watchdog":            {func(o *settings.Options) { o.RequireWatchdog = true }, "none", false},
		"a watchdog":             {func(o *settings.Options) { o.RequireWatchdog = true }, "i6300ESB timer", true},
		"a watchdog in software": {func(o *settings.Options) { o.RequireWatchdog = true }, "Software Watchdog", false},
	} {
		o := settings.Default()
		c.change(&o)
		if mayTry(o, c.watchdog) != c.may {
			t.Errorf("%s: %v", name, !c.may)
		}
	}
}
