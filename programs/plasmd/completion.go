package plasmd

import (
	"io"

	"phase/appliance/base/program"
)

// completionCmd prints a shell's completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish. Load it with: source <(plasmd completion bash); in fish: plasmd completion fish | source"`
}

func (c completionCmd) run(stdout io.Writer) error {
	return program.Completion("plasmd", &commandLine{}, c.Shell, stdout)
}
