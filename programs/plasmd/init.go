package plasmd

import (
	"fmt"
	"io"

	"phase/appliance/base/program"
	"phase/appliance/daemon/config"
)

// initCmd writes a configuration.
type initCmd struct {
	Path string `placeholder:"F" help:"Where to write it (default: where start looks)."`
	JSON bool   `name:"json" short:"j" help:"Print one JSON object."`
}

func (c initCmd) run(stdout io.Writer) error {
	if c.Path == "" {
		var err error
		if c.Path, err = configPath(); err != nil {
			return err
		}
	}
	if err := config.Create(c.Path); err != nil {
		return err
	}
	if c.JSON {
		return program.PrintJSON(stdout, map[string]string{"path": c.Path})
	}
	_, err := fmt.Fprintf(stdout, "wrote %s\n", c.Path)
	return err
}
