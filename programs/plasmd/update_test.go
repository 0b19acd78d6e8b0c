package plasmd

import (
	"strings"
	"testing"
	"time"

	"phase/appliance/machine/settings"
	"phase/appliance/release/operator"
)

// TestShowReport: a person is told when the clock of a node is wrong, by both
// clocks, and what a window means.
func TestShowReport(t *testing.T) {
	for name, c := range map[string]struct {
		report operator.Report
		says   string
		clock  bool
	}{
		"a clock of 2099":           {operator.Report{Clock: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}, "clock     reads 2099-01-01 00:00 UTC there, and " + instant(time.Now())[:len("2026-11-29")], true},
		"a clock without power":     {operator.Report{Clock: time.Unix(0, 0)}, "clock     reads 1970-01-01 00:00 UTC there", true},
		"a minute off":              {operator.Report{Clock: time.Now().Add(-time.Minute)}, "window    all day\n", false},
		"a node that tells no time": {operator.Report{Window: "22:00-04:00"}, "window    22:00-04:00 UTC\n", false},
		"no window":                 {operator.Report{Clock: time.Now(), Window: settings.Never}, "window    never, by apply alone\n", false},
	} {
		var out strings.Builder
		if err := showReport(&out, c.report); err != nil || !strings.Contains(out.String(), c.says) || strings.Contains(out.String(), "clock ") != c.clock {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}
