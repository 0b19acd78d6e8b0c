package plasmd

import (
	"io"

	"phase/appliance/base/completion"
)

// completionCmd prints a shell's completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish. Load it with: source <(plasmd completion bash); in fish: plasmd completion fish | source"`
}

func (c completionCmd) run(stdout io.Writer) error {
	return completion.Write(stdout, "plasmd", &commandLine{}, c.Shell)
}
