package plasmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"phase/appliance/base/identity"
	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/api"
	"phase/appliance/machine/settings"
	"phase/appliance/release/operator"
)

// updateCmd asks for something of the updates of a node.
type updateCmd struct {
	Status   updateLook  `cmd:"" help:"Show what runs, what is held, and what is waited for."`
	Check    updateDo    `cmd:"" help:"Ask the providers again now."`
	Apply    updateApply `cmd:"" help:"Take the newest release now, whatever window, rollout and hold say."`
	Rollback updateDo    `cmd:"" help:"Go back to the newest good older release, and stay on it."`
	Hold     updateHold  `cmd:"" help:"Stay on the release that runs."`
	Resume   updateDo    `cmd:"" help:"Let go of hold and rollback."`
}

// updateLook is what all of them have.
type updateLook struct {
	asking
	On   string `placeholder:"PEER" help:"The node that has this peer id, which must have this daemon's among its admins (phase.admin); without it, the node of the daemon."`
	JSON bool   `name:"json" short:"j" help:"Print one JSON object."`
}

type updateDo struct{ updateLook }

type updateHold struct {
	updateLook
	Off bool `help:"Let go, as resume does."`
}

type updateApply struct {
	updateLook
	Release string `placeholder:"DIGEST" help:"This release alone (sha256:...)."`
	NoWait  bool   `help:"Return when it has begun."`
}

// run dispatches; what is the action, from the command line.
func (c updateCmd) run(ctx context.Context, what string, stdout, stderr io.Writer) error {
	switch what {
	case operator.Status:
		return c.Status.do(ctx, what, "", stdout)
	case operator.Check:
		return c.Check.do(ctx, what, "", stdout)
	case operator.Apply:
		return c.Apply.run(ctx, stdout, stderr)
	case operator.Rollback:
		return c.Rollback.do(ctx, what, "", stdout)
	case operator.Hold:
		if c.Hold.Off {
			what = operator.Resume
		}
		return c.Hold.do(ctx, what, "", stdout)
	}
	return c.Resume.do(ctx, what, "", stdout)
}

func (c updateLook) ask(ctx context.Context, q operator.Question) (u api.Updated, err error) {
	if c.On != "" {
		if _, err := identity.ParsePeerID(c.On); err != nil {
			return u, program.Usagef("--on: %w", err)
		}
	}
	client, err := c.client()
	if err != nil {
		return u, err
	}
	return client.Update(ctx, c.On, q)
}

func (c updateLook) do(ctx context.Context, do, release string, stdout io.Writer) error {
	u, err := c.ask(ctx, operator.Question{Do: do, Release: release})
	if err != nil {
		return err
	}
	return c.show(stdout, do, u)
}

func (c updateLook) show(stdout io.Writer, do string, u api.Updated) error {
	if c.JSON {
		return program.PrintJSON(stdout, u)
	}
	if do != operator.Status {
		_, err := fmt.Fprintln(stdout, ui.Clean(u.Did))
		return err
	}
	return showReport(stdout, u.Report)
}

// followEvery is how often apply looks how far the node is.
const followEvery = 500 * time.Millisecond

// run has a release taken and follows it until the node jumps, or says why not.
func (c updateApply) run(ctx context.Context, stdout, stderr io.Writer) error {
	u, err := c.ask(ctx, operator.Question{Do: operator.Apply, Release: c.Release})
	if err != nil {
		return err
	}
	if c.NoWait {
		return c.show(stdout, operator.Apply, u)
	}
	fmt.Fprintln(stderr, ui.Clean(u.Did))
	state := ""
	for {
		r := u.Report
		if r.State != state && r.State != "looking" {
			state = r.State
			fmt.Fprintln(stderr, ui.Clean(state))
		}
		switch {
		case r.Applying != nil && r.Applying.Why != "":
			return fmt.Errorf("version %d was not taken: %s", r.Applying.Version, ui.Clean(r.Applying.Why))
		case r.State == "jumping":
			return c.show(stdout, operator.Apply, u)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followEvery):
		}
		did := u.Did
		if u, err = c.ask(ctx, operator.Question{Do: operator.Status}); err != nil {
			if state != "" {
				// The node stops its services for the jump, the one that answers too.
				_, err := fmt.Fprintln(stdout, ui.Clean(did)+"; the node does not answer any more, as it does not while it restarts")
				return err
			}
			return fmt.Errorf("the node took the order and then did not answer: %w", err)
		}
		u.Did = did
	}
}

// clockTolerance is how far the clock of a node may be from that of who asks
// before a person is told.
const clockTolerance = 5 * time.Minute

// showReport prints a report for a person.
func showReport(w io.Writer, r operator.Report) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-9s %s\n", name, ui.Clean(fmt.Sprintf(format, args...)))
	}
	if r.Running != nil {
		line("running", "version %d (%s), %s, %s; expires %s", r.Running.Version, r.Running.Name, r.Running.Channel, r.Running.State, day(r.Running.Expires))
	}
	line("state", "%s, channel %s, nothing older than version %d is taken", r.State, r.Channel, r.Floor)
	if !r.Clock.IsZero() && time.Since(r.Clock).Abs() > clockTolerance {
		line("clock", "reads %s there, and %s here: set the one that is wrong; releases expire, and the window opens, by that of the node", instant(r.Clock), instant(time.Now()))
	}
	line("root", "version %d, expires %s", r.Root.Version, day(r.Root.Expires))
	if r.Held != nil {
		line("held", "on version %d since %s, by %s", r.Held.Version, r.Held.At.Local().Format(time.DateTime), r.Held.By)
	}
	showWaiting(line, "waiting", r.Waiting)
	showWaiting(line, "applying", r.Applying)
	window, admins := "all day", "the holder of the token"
	switch r.Window {
	case "":
	case settings.Never:
		window = "never, by apply alone"
	default:
		window = r.Window + " UTC"
	}
	if r.Admins != "" {
		admins = r.Admins
	}
	line("window", "%s", window)
	line("watchdog", "%s%s", r.Watchdog, map[bool]string{true: ", needed for a trial"}[r.RequireWatchdog])
	line("admins", "%s", admins)
	for _, p := range r.Problems {
		line("problem", "%s", p)
	}
	for _, t := range r.Taken {
		line("taken", "version %d on %s, by %s, from %s in %.1f s, verified by root %d", t.Version, t.At.Local().Format(time.DateTime), t.By, from(t.From), t.Seconds, t.Root)
	}
	for _, f := range r.Failures {
		line("failed", "version %d at peer %s: %s", f.Version, f.Peer, f.Reason)
	}
	if err := showReleases(w, r.Releases); err != nil {
		return err
	}
	return showAttempts(w, r.Attempts)
}

func showWaiting(line func(string, string, ...any), name string, w *statefile.Waiting) {
	if w == nil {
		return
	}
	until := ""
	if !w.Until.IsZero() {
		until = " until " + instant(w.Until)
	}
	line(name, "version %d%s: %s", w.Version, until, w.Why)
}

func showReleases(w io.Writer, list []operator.Release) error {
	rows := [][]string{{"VERSION", "STATE", "TRIES", "DIGEST", "CHANNEL", ""}}
	for _, one := range list {
		notes := []string{}
		for _, note := range []string{map[bool]string{true: "runs"}[one.Running], map[bool]string{true: "damaged"}[one.Damaged], one.Reason, one.Next} {
			if note != "" {
				notes = append(notes, note)
			}
		}
		rows = append(rows, []string{
			fmt.Sprint(one.Version), ui.Clean(one.State), fmt.Sprint(one.Tries), ui.Clean(short(one.Digest)), ui.Clean(one.Channel), ui.Clean(strings.Join(notes, "; ")),
		})
	}
	if len(rows) == 1 {
		return nil
	}
	return ui.Table(w, rows)
}

// shownAttempts is how many attempts a person is shown.
const shownAttempts = 8

func showAttempts(w io.Writer, list []statefile.Attempt) error {
	rows := [][]string{{"AT", "PROVIDER", "VERSION", "RESULT", ""}}
	for _, a := range list[:min(len(list), shownAttempts)] {
		version := ""
		if a.Version != 0 {
			version = fmt.Sprint(a.Version)
		}
		rows = append(rows, []string{a.At.Local().Format(time.DateTime), ui.Clean(a.Provider), version, ui.Clean(a.Result), ui.Clean(strings.TrimSpace(a.Code + " " + a.Reason))})
	}
	if len(rows) == 1 {
		return nil
	}
	return ui.Table(w, rows)
}

func from(list []operator.Source) string {
	if len(list) == 0 {
		return "the store"
	}
	var names []string
	for _, s := range list {
		names = append(names, fmt.Sprintf("%s (%s)", s.Provider, ui.Bytes(s.Bytes)))
	}
	return strings.Join(names, ", ")
}

// short is a digest as a person tells it from others.
func short(digest string) string { return digest[:min(len(digest), len("sha256:")+16)] }

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
