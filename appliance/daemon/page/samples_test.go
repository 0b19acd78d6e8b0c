package page

import (
	"testing"
	"time"
)

// TestSamples: a plot has so many samples, one in ten seconds, the newest last.
func TestSamples(t *testing.T) {
	var s samples
	now := time.Unix(1000, 0)
	for range 10 * maxSamples {
		s.fill(t.TempDir(), now)
		now = now.Add(sampleEvery / 2)
	}
	memory, disk := s.plots()
	if len(s.memory) != maxSamples || len(s.disk) != maxSamples || !memory.Known || !disk.Known {
		t.Errorf("%d and %d samples, %+v, %+v", len(s.memory), len(s.disk), memory, disk)
	}
	for i := range int64(2 * maxSamples) {
		s.memory = add(s.memory, use{i, 1000})
	}
	if first, last := s.memory[0].Used, s.memory[maxSamples-1].Used; first != maxSamples || last != 2*maxSamples-1 {
		t.Errorf("samples %d to %d", first, last)
	}
}

func TestDraw(t *testing.T) {
	for _, c := range []struct {
		list    []use
		points  string
		percent int
	}{
		{nil, "", 0},
		{[]use{{0, 0}}, "", 0},
		{[]use{{1, 2}}, "0,60 0.0,30.0 300.0,30.0 300,60", 50},
		{[]use{{0, 4}, {4, 4}, {1, 4}}, "0,60 0.0,60.0 150.0,0.0 300.0,45.0 300,60", 25},
	} {
		if p := draw(c.list); p.Points != c.points || p.Percent != c.percent || p.Known != (c.points != "") {
			t.Errorf("%v: %+v", c.list, p)
		}
	}
}
