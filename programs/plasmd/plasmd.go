// Package plasmd is the daemon of a node and its command line: it serves
// releases over HTTP and announces them on the network, runs jobs and signs
// their receipts. `plasmd start` is the whole node, `plasmd serve` a provider
// of a folder; the other commands run a module here or as a job, check a receipt,
// or ask the running daemon or a provider.
package plasmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"phase/appliance/base/completion"
	"phase/appliance/base/program"
	"phase/appliance/compute/history"
	"phase/appliance/compute/worker"
	"phase/appliance/compute/worker/inside"
)

// completionCmd prints a shell's completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish. Load it with: source <(plasmd completion bash); in fish: plasmd completion fish | source"`
}

const about = "Serve releases, run jobs, sign receipts."

type commandLine struct {
	Init          initCmd       `cmd:"" help:"Write a configuration to start from."`
	Start         startCmd      `cmd:"" help:"Be a node: serve the release it runs, announce it, run jobs."`
	Serve         serveCmd      `cmd:"" help:"Serve the releases in a folder."`
	Run           runCmd        `cmd:"" help:"Run a WASM module here."`
	ExecuteJob    executeCmd    `cmd:"" help:"Run a WASM module as a job and print what came of it, with its receipt."`
	Jobs          jobsCmd       `cmd:"" help:"Show what the daemon ran and runs."`
	Peers         peersCmd      `cmd:"" help:"Show who is connected to the daemon, and how."`
	Update        updateCmd     `cmd:"" help:"Look after the releases that a node takes by itself."`
	Install       installCmd    `cmd:"" help:"Write a node, as it was flashed, to a disk of the machine that it runs on."`
	FactoryReset  resetCmd      `cmd:"" help:"Have a node forget all that it keeps: identity, token, store, history."`
	Logs          logsCmd       `cmd:"" help:"Show the log of the daemon or of a node."`
	SupportBundle supportCmd    `cmd:"" name:"support-bundle" help:"Write what helps others to find out what is wrong here, without secrets."`
	Receipt       receiptCmd    `cmd:"" help:"Check receipts."`
	Provider      providerCmd   `cmd:"" help:"Ask a provider."`
	Completion    completionCmd `cmd:"" help:"Print what makes a shell complete these commands."`
	Version       versionCmd    `cmd:"" help:"Print the version, and the daemon's."`
}

// Run is the program.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	// The words of processes that plasmd starts; they stand in no help text.
	if len(args) > 0 && args[0] == worker.Command {
		return program.Exit{Code: inside.Main(ctx)}
	}
	if len(args) == 2 && args[0] == history.CheckCommand {
		return program.Exit{Code: history.CheckMain(args[1], stderr)}
	}
	var c commandLine
	command, err := program.Parse("plasmd", about, &c, args, stdout, stderr)
	if err != nil {
		return err
	}
	commands := map[string]func() error{
		"init":                  func() error { return c.Init.run(stdout) },
		"start":                 func() error { return c.Start.run(ctx, stderr) },
		"serve":                 func() error { return c.Serve.run(ctx, stderr) },
		"run <wasm>":            func() error { return c.Run.run(ctx, stdin, stdout, stderr) },
		"execute-job <wasm>":    func() error { return c.ExecuteJob.run(ctx, stdin, stdout, stderr) },
		"jobs":                  func() error { return c.Jobs.run(ctx, stdout) },
		"jobs <run>":            func() error { return c.Jobs.run(ctx, stdout) },
		"peers":                 func() error { return c.Peers.run(ctx, stdout) },
		"logs":                  func() error { return c.Logs.run(ctx, stdout) },
		"support-bundle":        func() error { return c.SupportBundle.run(ctx, stdout, stderr) },
		"support-bundle <file>": func() error { return c.SupportBundle.run(ctx, stdout, stderr) },
		"install":               func() error { return c.Install.run(ctx, stdin, stdout, stderr) },
		"install <disk>":        func() error { return c.Install.run(ctx, stdin, stdout, stderr) },
		"factory-reset":         func() error { return c.FactoryReset.run(ctx, stdin, stdout, stderr) },
		"completion <shell>":    func() error { return completion.Write(stdout, "plasmd", &commandLine{}, c.Completion.Shell) },
		"receipt verify <f>":    func() error { return c.Receipt.Verify.run(stdin, stdout) },
		"provider status":       func() error { return c.Provider.Status.run(ctx, stdout) },
		"provider list":         func() error { return c.Provider.List.run(ctx, stdout) },
		"version":               func() error { return c.Version.run(ctx, stdout) },
	}
	if what, ok := strings.CutPrefix(command, "update "); ok {
		return c.Update.run(ctx, what, stdout, stderr)
	}
	if run, ok := commands[command]; ok {
		return run()
	}
	return fmt.Errorf("command %q is declared and has nothing to run", command)
}
