package qemu

import (
	"strings"
	"testing"
	"time"
)

// A clock that QEMU would silently set to another time is refused.
func TestClockOutOfReach(t *testing.T) {
	now := time.Now()
	for years, ok := range map[int]bool{0: true, 67: true, -67: true, 69: false, -69: false, 1000: false} {
		_, err := Config{Clock: now.AddDate(years, 0, 0)}.withDefaults()
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "68 years") {
			t.Errorf("%d years from now: %v", years, err)
		}
	}
	if _, err := (Config{}).withDefaults(); err != nil {
		t.Errorf("the host's time: %v", err)
	}
}
