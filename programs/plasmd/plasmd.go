// Package plasmd is the program of a node that faces the world: it serves
// releases over HTTP and announces them on the network, runs jobs and signs
// their receipts. `plasmd start` is the whole node, `plasmd serve` a provider
// of a folder; the other commands run a module here, check a receipt, or ask a
// provider what it has.
package plasmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"

	"phase/appliance/program"
)

const about = "Serve releases, run jobs, sign receipts."

type commandLine struct {
	Start    startCmd    `cmd:"" help:"Be a node: serve the release it runs, announce it, run jobs."`
	Serve    serveCmd    `cmd:"" help:"Serve the releases in a folder."`
	Run      runCmd      `cmd:"" help:"Run a WASM module here."`
	Receipt  receiptCmd  `cmd:"" help:"Check receipts."`
	Provider providerCmd `cmd:"" help:"Ask a provider."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// Run is the program.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == workerName {
		return runWorker(ctx)
	}
	var c commandLine
	command, err := program.Parse("plasmd", about, &c, args, stdout, stderr)
	if err != nil {
		return err
	}
	switch command {
	case "start":
		return c.Start.run(ctx, stderr)
	case "serve":
		return c.Serve.run(ctx, stderr)
	case "run <wasm>":
		return c.Run.run(ctx, stdin, stdout, stderr)
	case "receipt verify <f>":
		return c.Receipt.Verify.run(ctx, stdin, stdout)
	case "provider status":
		return c.Provider.Status.run(ctx, stdout)
	case "provider list":
		return c.Provider.List.run(ctx, stdout)
	case "version":
		return c.Version.run(stdout)
	}
	return fmt.Errorf("command %q is declared and has nothing to run", command)
}

type versionCmd struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

func (c versionCmd) run(stdout io.Writer) error {
	if !c.JSON {
		_, err := fmt.Fprintln(stdout, "plasmd", program.Version)
		return err
	}
	return json.NewEncoder(stdout).Encode(map[string]string{
		"name": "plasmd", "version": program.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
	})
}
