package lab

import (
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		all  []time.Duration
		want time.Duration
	}{
		{[]time.Duration{7 * s}, 7 * s},
		{[]time.Duration{9 * s, 1 * s, 4 * s}, 4 * s},
		{[]time.Duration{4 * s, 1 * s, 100 * s, 2 * s}, 3 * s},
	} {
		if got := Median(c.all, func(d time.Duration) time.Duration { return d }); got != c.want {
			t.Errorf("of %v it is %s, want %s", c.all, got, c.want)
		}
	}
}
