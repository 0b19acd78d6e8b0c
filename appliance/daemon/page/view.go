package page

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/compute/history"
	"phase/appliance/compute/scheduler"
	"phase/appliance/daemon/status"
	"phase/appliance/network/peer"
	"phase/appliance/release/operator"
)

const (
	maxRuns  = 20 // jobs that are shown
	maxPeers = 64 // peers that are shown
)

// view is what the templates show.
type view struct {
	status.Report
	Owner    bool
	Page     string // version of the page
	Running  string // digest of the release that runs
	Bars     []bar
	Serving  *statefile.Step // the last of the start; nil where it is not over
	Jobs     *jobs
	Taken    []operator.Taken
	Peers    []peer.Info
	MorePeer int // that are not shown
	Memory   plot
	Disk     plot

	Style  template.CSS
	Script template.JS
}

// jobs are those at work and the last ones.
type jobs struct {
	scheduler.Load
	Runs []history.Run
}

// bar is one step of the start, with its place on the line of time in percent.
type bar struct {
	statefile.Step
	X, Width string
}

// view looks at the node. Only the owner's has what only the owner may see.
func (p *Page) view(ctx context.Context, owner bool) view {
	p.looking.Lock()
	defer p.looking.Unlock()
	v := view{
		Report: p.Report(), Owner: owner, Page: version(), Running: p.Running,
		Style: template.CSS(style), Script: template.JS(script),
	}
	p.samples.fill(p.Disk, time.Now())
	v.Memory, v.Disk = p.samples.plots()
	v.Bars, v.Serving = bars(v.Boot)
	v.Peers, v.Report.Peers = v.Report.Peers, nil
	if !owner {
		v.Peers = nil
		return v
	}
	if over := len(v.Peers) - maxPeers; over > 0 {
		v.Peers, v.MorePeer = v.Peers[:maxPeers], over
	}
	v.Jobs, v.Taken = p.jobs(), p.takenNow(ctx)
	return v
}

func (p *Page) jobs() *jobs {
	if p.Runs == nil {
		return nil
	}
	j := &jobs{Load: p.Runs.Load()}
	var err error
	if j.Runs, _, err = p.History.List("", maxRuns); err != nil {
		slog.Debug("the page has no jobs", "error", err)
	}
	return j
}

// bars puts the steps of a start on one line of time, in the order they began in.
func bars(steps []statefile.Step) (list []bar, serving *statefile.Step) {
	whole := 0.0
	for _, s := range steps {
		whole = max(whole, s.End())
	}
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b statefile.Step) int {
		switch {
		case a.Begin < b.Begin:
			return -1
		case a.Begin > b.Begin:
			return 1
		}
		return 0
	})
	for i, s := range steps {
		if s.Name == statefile.ServingStep {
			serving = &steps[i]
		}
		if whole > 0 {
			// What took next to no time is to be seen too.
			width := max(100*s.Length/whole, 0.5)
			list = append(list, bar{s, percent(min(100*s.Begin/whole, 100-width)), percent(width)})
		}
	}
	return list, serving
}

func percent(f float64) string { return fmt.Sprintf("%.2f%%", f) }

// functions are for the templates. What comes from others is cleaned of what is no
// text; html/template escapes it for its place.
var functions = template.FuncMap{
	"clean":   func(s any) string { return ui.Clean(fmt.Sprint(s)) },
	"bytes":   ui.Bytes,
	"count":   ui.Count,
	"seconds": func(f float64) string { return ui.Duration(time.Duration(f * float64(time.Second))) },
	"up":      up,
	"at":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"clock":   func(t time.Time) string { return t.UTC().Format("Jan 2 15:04:05") },
	"day":     func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"short":   short,
	"folder": func(r status.ReleaseInfo) string {
		return "/" + url.PathEscape(r.Channel) + "/" + url.PathEscape(r.Arch) + "/"
	},
	"took": took,
	"by":   by,
	"why":  why,
}

// up is how long, in a form that does not change every second.
func up(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	if d < time.Minute {
		return "less than a minute"
	}
	return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
}

// short is enough of a digest or a name to tell it from others by eye.
func short(s string) string {
	s = ui.Clean(s)
	if digest, ok := strings.CutPrefix(s, "sha256:"); ok {
		return digest[:min(12, len(digest))]
	}
	if r := []rune(s); len(r) > 16 {
		return "…" + string(r[len(r)-10:])
	}
	return s
}

// took is how long a job ran; "" where it did not, or still does.
func took(r history.Run) string {
	if r.Started == nil || r.Finished == nil {
		return ""
	}
	return ui.Duration(r.Finished.Sub(*r.Started))
}

// by says who asked for a release, as statefile.Attempt has it.
func by(who string) string {
	switch who {
	case "":
		return ""
	case "itself":
		return "taken by the node itself"
	case "here":
		return "asked for by the owner"
	}
	return "asked for by the admin " + short(who)
}

// why is the reason of an attempt, with its code once.
func why(a statefile.Attempt) string {
	said := ui.Clean(a.Reason)
	if a.Code != "" && !strings.Contains(said, "("+a.Code+")") {
		said += " (" + ui.Clean(a.Code) + ")"
	}
	return strings.TrimSpace(said)
}
