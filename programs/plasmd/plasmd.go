// Package plasmd is the program of a node that faces the world: it serves
// releases over HTTP and announces them on the network, runs jobs and signs
// their receipts. `plasmd start` is the whole node, `plasmd serve` a provider
// of a folder; the other commands run a module here or as a job, check a receipt,
// or ask the running daemon or a provider.
package plasmd

import (
	"context"
	"fmt"
	"io"

	"phase/appliance/base/program"
	"phase/appliance/compute/history"
)

const about = "Serve releases, run jobs, sign receipts."

type commandLine struct {
	Init       initCmd       `cmd:"" help:"Write a configuration to start from."`
	Start      startCmd      `cmd:"" help:"Be a node: serve the release it runs, announce it, run jobs."`
	Serve      serveCmd      `cmd:"" help:"Serve the releases in a folder."`
	Run        runCmd        `cmd:"" help:"Run a WASM module here."`
	ExecuteJob executeCmd    `cmd:"" help:"Run a WASM module as a job and print what came of it, with its receipt."`
	Jobs       jobsCmd       `cmd:"" help:"Show what the daemon ran and runs."`
	Logs       logsCmd       `cmd:"" help:"Show the daemon's log."`
	Receipt    receiptCmd    `cmd:"" help:"Check receipts."`
	Provider   providerCmd   `cmd:"" help:"Ask a provider."`
	Completion completionCmd `cmd:"" help:"Print what makes a shell complete these commands."`
	Version    versionCmd    `cmd:"" help:"Print the version, and the daemon's."`
}

// Run is the program.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == workerName {
		return runWorker(ctx)
	}
	if len(args) == 2 && args[0] == history.CheckCommand {
		return program.Exit{Code: history.CheckMain(args[1], stderr)}
	}
	var c commandLine
	command, err := program.Parse("plasmd", about, &c, args, stdout, stderr)
	if err != nil {
		return err
	}
	switch command {
	case "init":
		return c.Init.run(stdout)
	case "start":
		return c.Start.run(ctx, stderr)
	case "serve":
		return c.Serve.run(ctx, stderr)
	case "run <wasm>":
		return c.Run.run(ctx, stdin, stdout, stderr)
	case "execute-job <wasm>":
		return c.ExecuteJob.run(ctx, stdin, stdout)
	case "jobs", "jobs <run>":
		return c.Jobs.run(ctx, stdout)
	case "logs":
		return c.Logs.run(ctx, stdout)
	case "completion <shell>":
		return c.Completion.run(stdout)
	case "receipt verify <f>":
		return c.Receipt.Verify.run(ctx, stdin, stdout)
	case "provider status":
		return c.Provider.Status.run(ctx, stdout)
	case "provider list":
		return c.Provider.List.run(ctx, stdout)
	case "version":
		return c.Version.run(ctx, stdout)
	}
	return fmt.Errorf("command %q is declared and has nothing to run", command)
}
