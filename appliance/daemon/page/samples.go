package page

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"phase/appliance/machine/linux"
)

// What a plot shows: the last half hour.
const (
	sampleEvery = 10 * time.Second
	maxSamples  = 180
)

// The size of a plot, without a unit: it is drawn as wide as there is room.
const (
	plotWidth  = 300.0
	plotHeight = 60.0
)

// use is how much of something is in use, in bytes.
type use struct{ Used, Total int64 }

// samples are the figures of the last half hour, for one user at a time.
type samples struct {
	last         time.Time
	memory, disk []use
}

// fill takes a sample if it is time for one. folder is on the disk, "" for none.
func (s *samples) fill(folder string, now time.Time) {
	if !s.last.IsZero() && now.Sub(s.last) < sampleEvery {
		return
	}
	s.last = now
	if m, err := linux.ReadMemory(); err == nil {
		s.memory = add(s.memory, use{m.Total - m.Available, m.Total})
	}
	var fs syscall.Statfs_t
	if folder != "" && syscall.Statfs(folder, &fs) == nil {
		s.disk = add(s.disk, use{int64(fs.Blocks-fs.Bfree) * fs.Bsize, int64(fs.Blocks) * fs.Bsize})
	}
}

func add(list []use, u use) []use {
	if len(list) == maxSamples {
		list = append(list[:0], list[1:]...)
	}
	return append(list, u)
}

// plot is a line of what was in use.
type plot struct {
	use
	Points  string // of the area below it, for SVG
	Percent int
	Known   bool
}

func (s *samples) plots() (memory, disk plot) { return draw(s.memory), draw(s.disk) }

// draw has the oldest sample at the left and the newest at the right.
func draw(list []use) (p plot) {
	if len(list) == 0 || list[len(list)-1].Total <= 0 {
		return p
	}
	p.use, p.Known = list[len(list)-1], true
	p.Percent = int(100 * p.Used / p.Total)
	if len(list) == 1 { // an area needs two
		list = append(list, p.use)
	}
	var points strings.Builder
	fmt.Fprintf(&points, "0,%.0f", plotHeight)
	for i, u := range list {
		x := plotWidth * float64(i) / float64(len(list)-1)
		y := plotHeight * (1 - float64(u.Used)/float64(max(u.Total, 1)))
		fmt.Fprintf(&points, " %.1f,%.1f", x, y)
	}
	fmt.Fprintf(&points, " %.0f,%.0f", plotWidth, plotHeight)
	p.Points = points.String()
	return p
}
