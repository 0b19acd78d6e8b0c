package disk_test

import (
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/release/store/disk"
)

func TestPin(t *testing.T) {
	s, _ := create(t)
	pin := disk.Pin{Release: names.Sum(nil), Version: 4, By: "here"}
	for _, p := range []disk.Pin{{}, pin, {}, {}} {
		if err := s.SetPin(p); err != nil || s.Pin() != p {
			t.Errorf("%+v, %v, want %+v", s.Pin(), err, p)
		}
	}
}
