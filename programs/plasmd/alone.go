package plasmd

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"phase/appliance/base/redact"
	"phase/appliance/base/statefile"
	"phase/appliance/base/tool"
	"phase/appliance/base/ui"
	"phase/appliance/daemon/config"
	"phase/appliance/daemon/support"
)

// serviceUnit is the unit of the Debian package.
const serviceUnit = "plasmd.service"

// writeAlone writes a bundle without a daemon: of one that does not start, what this
// user may read. why is what asking the daemon came to.
func writeAlone(ctx context.Context, w io.Writer, why error) error {
	path, confErr := configPath()
	data, dataErr := dataDir()
	if err := errors.Join(confErr, dataErr); err != nil {
		return err
	}
	b := &bundle{data: data}
	token, err := statefile.ReadCapped(filepath.Join(data, "token"), maxToken)
	if err != nil {
		token = nil // of another user; the search knows what looks like one
	}
	conf, confErr := config.Load(path)
	parts := []support.Part{
		{Name: "daemon", Read: func(context.Context) (any, error) { return why.Error() + "\n", nil }},
		{Name: "version", Read: func(context.Context) (any, error) { return b.version() }},
		{Name: "config", Read: func(context.Context) (any, error) {
			if confErr != nil {
				return nil, confErr
			}
			return conf.Text()
		}},
		{Name: "log", Read: serviceLog},
	}
	for _, p := range b.parts() {
		switch p.Name {
		case "disks", "memory", "load":
			parts = append(parts, p)
		}
	}
	return support.Write(ctx, w, parts, redact.New(ownSecrets(strings.TrimSpace(string(token)), data)...), time.Now())
}

// serviceLog is what systemd has kept of the service.
func serviceLog(ctx context.Context) (any, error) {
	out, err := tool.Command{Name: "journalctl", Args: []string{"--unit", serviceUnit, "--lines", "2000", "--no-pager", "--quiet", "--output", "short-iso-precise"}}.Run(ctx)
	if err == nil && len(out) == 0 {
		err = errors.New("systemd has kept nothing of " + serviceUnit + ", or shows it only to root and the group adm")
	}
	var text strings.Builder
	for line := range strings.Lines(string(out)) {
		text.WriteString(ui.Clean(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return text.String(), err
}
