package completion_test

import (
	"os"

	"phase/appliance/base/completion"
)

func ExampleWrite() {
	var cli struct {
		List struct{} `cmd:"" help:"List them."`
	}
	if err := completion.Write(os.Stdout, "prog", &cli, "fish"); err != nil {
		panic(err)
	}
	// Output:
	// # fish completion of prog
	// complete -c prog -n '__fish_use_subcommand' -a list -d 'List them.'
	// complete -c prog -n '__fish_use_subcommand' -l help -d 'Show context-sensitive help.'
	// complete -c prog -n '__fish_use_subcommand' -l version -d 'Print the version and exit.'
	// complete -c prog -n '__fish_seen_subcommand_from list' -l help -d 'Show context-sensitive help.'
	// complete -c prog -n '__fish_seen_subcommand_from list' -l version -d 'Print the version and exit.'
}
