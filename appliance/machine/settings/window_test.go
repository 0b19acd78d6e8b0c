package settings

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	at := func(clock string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339, "2026-11-"+clock+":00Z")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ window, now, opens string }{
		{"", "29T12:00", "29T12:00"},
		{"10:00-11:00", "29T09:59", "29T10:00"},
		{"10:00-11:00", "29T10:00", "29T10:00"},
		{"10:00-11:00", "29T10:59", "29T10:59"},
		{"10:00-11:00", "29T11:00", "30T10:00"},
		{"22:00-04:00", "29T23:00", "29T23:00"},
		{"22:00-04:00", "29T03:59", "29T03:59"},
		{"22:00-04:00", "29T04:00", "29T22:00"},
		{"00:00-23:59", "29T23:59", "30T00:00"},
	} {
		w, err := ParseWindow(c.window)
		if got := w.Opens(at(c.now)); err != nil || !got.Equal(at(c.opens)) {
			t.Errorf("%s at %s opens %v, %v", c.window, c.now, got, err)
		}
	}
	w, err := ParseWindow(Never)
	if err != nil || !w.Opens(at("29T12:00")).IsZero() {
		t.Errorf("never: %v", err)
	}
	for _, bad := range []string{"10:00", "10:00-10:00", "24:00-01:00", "1:00-2:00", "10:00-11:00-12:00", "10:00 - 11:00", "NEVER"} {
		if _, err := ParseWindow(bad); err == nil {
			t.Errorf("%q is read as a window", bad)
		}
	}
}
