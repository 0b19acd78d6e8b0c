package settings

import (
	"fmt"
	"strings"
	"time"
)

// Never is the window that is never open: releases are taken on demand alone.
const Never = "never"

// Window is the part of every day, in UTC, in which a node takes releases by
// itself. The zero Window is open all day.
type Window struct {
	from, to time.Duration // since midnight; to may be before from
	never    bool
}

// ParseWindow reads "HH:MM-HH:MM", "never", or "" for all day. A window whose
// end is before its begin goes over midnight; the end is not part of it.
func ParseWindow(text string) (Window, error) {
	switch text {
	case "":
		return Window{}, nil
	case Never:
		return Window{never: true}, nil
	}
	begin, end, _ := strings.Cut(text, "-")
	from, okFrom := clockTime(begin)
	to, okTo := clockTime(end)
	if !okFrom || !okTo || from == to {
		return Window{}, fmt.Errorf("want a window like 22:00-04:00, in UTC, or never")
	}
	return Window{from: from, to: to}, nil
}

// clockTime reads "HH:MM", two digits each.
func clockTime(text string) (time.Duration, bool) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, false
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, true
}

const day = 24 * time.Hour

// Opens says when the window is open next: now, if it is, and the zero time if it
// never is.
func (w Window) Opens(now time.Time) time.Time {
	switch {
	case w.never:
		return time.Time{}
	case w.from == w.to:
		return now
	}
	midnight := now.UTC().Truncate(day)
	at := now.Sub(midnight)
	if since := (at - w.from + day) % day; since < (w.to-w.from+day)%day {
		return now
	}
	if at < w.from {
		return midnight.Add(w.from)
	}
	return midnight.Add(day + w.from)
}
