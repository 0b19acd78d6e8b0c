package plasmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"phase/appliance/base/program"
	"phase/appliance/base/statefile"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/api"
	"phase/appliance/daemon/journal"
	"phase/appliance/release/fetch"
)

// owning is what commands have that ask the daemon of this machine, or a node for
// the holder of its token.
type owning struct {
	asking
	Node  string `placeholder:"URL" help:"Ask this node instead, like http://192.0.2.7:8080; needs --token-file."`
	Token string `name:"token-file" placeholder:"F" help:"The file that holds the token of that node, as it prints it on its console."`
}

// maxToken is how much of a token's file is read.
const maxToken = 4 << 10

func (o owning) client() (*api.Client, error) {
	if (o.Node == "") != (o.Token == "") || o.Node != "" && o.Socket != "" {
		return nil, program.Usagef("--node and --token-file go together, and without --socket")
	}
	if o.Node == "" {
		return o.asking.client()
	}
	if _, err := fetch.ParseBase(o.Node); err != nil {
		return nil, program.Usagef("--node: %w", err)
	}
	token, err := statefile.ReadCapped(o.Token, maxToken)
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	return api.NewNodeClient(o.Node, strings.TrimSpace(string(token))), nil
}

// logsCmd shows the log of the daemon, or of a node.
type logsCmd struct {
	owning
	Lines   int    `short:"n" default:"100" range:"1-1000" placeholder:"N" help:"How many of the last lines (1 to 1000, ${default})."`
	Follow  bool   `short:"f" help:"Show each line that comes, too, until it is stopped."`
	Since   string `placeholder:"T" help:"No line older than this: a time like 2026-11-30T03:04:05Z or 2026-11-30 03:04:05 (here), or how long ago, like 10m or 2h."`
	Service string `short:"s" placeholder:"NAME" help:"The lines of one program of a node alone: plasmd, init, net, update, kexec or kernel."`
	JSON    bool   `name:"json" short:"j" help:"Print one JSON object; with --follow one a line."`
}

func (c logsCmd) run(ctx context.Context, stdout io.Writer) error {
	q := api.LogQuery{Lines: c.Lines, Service: c.Service}
	var err error
	if q.Since, err = since(c.Since, time.Now()); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	if c.Follow {
		err := client.FollowLogs(ctx, q, func(line journal.Line) error { return c.print(stdout, line) })
		if ctx.Err() != nil {
			return nil // it was stopped, as it is meant to be
		}
		return err
	}
	log, err := client.Logs(ctx, q)
	if err != nil {
		return err
	}
	if c.JSON {
		return program.PrintJSON(stdout, log)
	}
	for _, line := range log.Lines {
		if err := c.print(stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// print writes one line, for a person or a program.
func (c logsCmd) print(stdout io.Writer, line journal.Line) (err error) {
	if c.JSON {
		err = json.NewEncoder(stdout).Encode(line)
	} else {
		_, err = fmt.Fprintf(stdout, "%s %s: %s\n", line.Time.Local().Format(time.DateTime), ui.Clean(line.Service), ui.Clean(line.Text))
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// since reads a time, or how long before now it was; the zero time for "".
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, form := range []string{time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, program.Usagef("--since: %.40q is neither a time like 2026-11-30T03:04:05Z nor how long ago, like 10m", text)
}
