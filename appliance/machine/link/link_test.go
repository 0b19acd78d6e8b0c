package link

import (
	"testing"

	"phase/appliance/machine/settings"
)

// TestModes: what a mode means on the wire, of each mode there is.
func TestModes(t *testing.T) {
	for mode, want := range map[settings.Mode]struct{ onLink, anonymous bool }{
		settings.Internet: {},
		settings.Local:    {onLink: true},
		settings.Private:  {anonymous: true},
	} {
		o := Options{Settings: settings.Options{Mode: mode}, HostName: "phase-1a2b3c4d"}
		if o.onLink() != want.onLink || o.anonymous() != want.anonymous {
			t.Errorf("%s: on-link %v, anonymous %v", mode, o.onLink(), o.anonymous())
		}
		if name := NewManager(o).o.HostName; (name == "") != want.anonymous {
			t.Errorf("%s: DHCP servers are told the name %q", mode, name)
		}
	}
}
