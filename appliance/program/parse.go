package program

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// Parse fills cli, a pointer to a struct with kong's field tags (cmd, arg,
// name, short, help, default, …), from args. It returns the chosen command's
// path ("provider list"), empty when cli has none. --help and --version print
// to stdout and return ErrDone; a command line that does not fit returns a
// usage error, which ends the program with exit code 2.
func Parse(name, about string, cli any, args []string, stdout, stderr io.Writer) (command string, err error) {
	ended := false
	parser, err := kong.New(cli,
		kong.Name(name),
		kong.Description(about),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { ended = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"version": name + " " + Version},
		// Every program has --version without a field of its own for it.
		kong.Embed(&struct {
			Version kong.VersionFlag `help:"Print the version and exit."`
		}{}),
	)
	if err != nil {
		return "", fmt.Errorf("building the command line of %s: %w", name, err)
	}
	parsed, err := parser.Parse(args)
	if ended {
		return "", ErrDone
	}
	if err != nil {
		return "", usageError{err}
	}
	return parsed.Command(), nil
}
