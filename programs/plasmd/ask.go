package plasmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"time"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/base/ui"
	"phase/appliance/compute/history"
	"phase/appliance/daemon/api"
)

// asking is what all commands that ask the running daemon have.
type asking struct {
	Socket string `placeholder:"PATH" help:"The daemon's socket (default: where start listens, else that of the service)."`
}

// client asks the daemon.
func (a asking) client() (*api.Client, error) {
	path := a.Socket
	if path == "" {
		var err error
		if path, err = askedPath(); err != nil {
			return nil, err
		}
	}
	return api.NewClient(path), nil
}

// jobsCmd shows runs, or one of them.
type jobsCmd struct {
	asking
	Limit  int    `short:"n" default:"100" range:"1-1000" placeholder:"N" help:"How many, newest first (1 to 1000, ${default})."`
	Cancel bool   `help:"End the run instead."`
	JSON   bool   `name:"json" short:"j" help:"Print one JSON object."`
	RunID  string `arg:"" optional:"" name:"run" help:"This run alone, with its receipt."`
}

func (c jobsCmd) run(ctx context.Context, stdout io.Writer) error {
	if c.Cancel && c.RunID == "" {
		return program.Usagef("--cancel needs the run to end; `plasmd jobs` lists them")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	switch {
	case c.Cancel:
		run, err := client.Cancel(ctx, c.RunID)
		if err != nil {
			return err
		}
		return c.show(stdout, run, []history.Run{run})
	case c.RunID != "":
		detail, err := client.Job(ctx, c.RunID)
		if err != nil {
			return err
		}
		return c.show(stdout, detail, []history.Run{detail.Run})
	}
	page, err := client.Jobs(ctx, "", c.Limit)
	if err != nil {
		return err
	}
	return c.show(stdout, page, page.Jobs)
}

// show prints the object, or a table of the runs.
func (c jobsCmd) show(stdout io.Writer, object any, list []history.Run) error {
	if c.JSON {
		return program.PrintJSON(stdout, object)
	}
	rows := [][]string{{"RUN", "STATE", "OUTCOME", "EXIT", "QUEUED", "TOOK", "BY", ""}}
	for _, r := range list {
		outcome, exit, took := "", "", ""
		if r.Outcome != nil {
			outcome = string(*r.Outcome)
		}
		if r.ExitCode != nil {
			exit = strconv.FormatUint(uint64(*r.ExitCode), 10)
		}
		if r.Started != nil && r.Finished != nil {
			took = ui.Duration(r.Finished.Sub(*r.Started))
		}
		rows = append(rows, []string{
			ui.Clean(r.RunID), ui.Clean(string(r.State)), ui.Clean(outcome), exit, r.Queued.Local().Format(time.DateTime), took,
			ui.Clean(r.Requester), ui.Clean(r.Detail),
		})
	}
	return ui.Table(stdout, rows)
}

// versionCmd prints the version, and that of the daemon when one runs.
type versionCmd struct {
	asking
	JSON bool `name:"json" short:"j" help:"Print one JSON object."`
}

// versions is what version --json prints. Daemon is nil when none runs.
type versions struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Go      string    `json:"go"`
	OS      string    `json:"os"`
	Arch    string    `json:"arch"`
	Daemon  *api.Node `json:"daemon"`
}

func (c versionCmd) run(ctx context.Context, stdout io.Writer) error {
	v := versions{Name: "plasmd", Version: program.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: names.RunningArch()}
	if client, err := c.client(); err == nil {
		node, err := client.Node(ctx)
		switch {
		case err == nil:
			v.Daemon = &node
		case c.Socket != "" || !errors.Is(err, api.ErrNoDaemon):
			return err
		}
	}
	if c.JSON {
		return program.PrintJSON(stdout, v)
	}
	_, err := fmt.Fprintln(stdout, "plasmd", v.Version)
	if err == nil && v.Daemon != nil {
		_, err = fmt.Fprintf(stdout, "daemon %s, peer %s\n", ui.Clean(v.Daemon.Version), ui.Clean(v.Daemon.PeerID))
	}
	return err
}
