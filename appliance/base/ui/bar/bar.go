// Package bar shows a person at a terminal how far something is. It is apart from
// package ui because its library is large, and PID 1 of a node writes for people too.
package bar

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"phase/appliance/base/ui"
)

// Bar is a progress bar in bytes.
type Bar struct{ bar *progressbar.ProgressBar }

// Start begins a bar for what is being done, total bytes long (-1: length
// not known). Unless w is a terminal it shows nothing.
func Start(w io.Writer, what string, total int64) *Bar {
	return &Bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetVisibility(ui.IsTerminal(w)),
	)}
}

// Add moves the bar n bytes on.
func (b *Bar) Add(n int64) { _ = b.bar.Add64(n) } // a bar that cannot be drawn is no reason to stop

// Set moves the bar to n bytes from the start.
func (b *Bar) Set(n int64) { _ = b.bar.Set64(n) }

// Close takes the bar off the screen.
func (b *Bar) Close() { _ = b.bar.Finish() }
