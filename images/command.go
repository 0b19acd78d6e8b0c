package images

import (
	"context"
	"io"

	"phase/appliance/program"
)

// Run is the images program.
func Run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	var cli struct {
		Build   buildCommand   `cmd:"" help:"Build a release of this checkout, the disk image and the virtual machine's image that carry it."`
		Key     keyCommand     `cmd:"" help:"Make a folder of keys: a root key, a release key, and the root document that names them."`
		Sign    signCommand    `cmd:"" help:"Sign a release again: another version, name, channel or expiry of the same artifacts."`
		Inspect inspectCommand `cmd:"" help:"Say what is on a disk image or a stick, and whether it is whole."`
		Sizes   sizesCommand   `cmd:"" help:"Say what a release and its images weigh, and what they may."`
		Flash   flashCommand   `cmd:"" help:"Write a disk image to a stick, with identifiers of its own, and read it back."`
	}
	command, err := program.Parse("images", "Makes, examines and flashes images of Phase.", &cli, args, stdout, stderr)
	if err != nil {
		return err
	}
	out := output{stdout, stderr}
	for name, do := range map[string]func(context.Context, output) error{
		"build": cli.Build.run, "key": cli.Key.run, "sign": cli.Sign.run, "sizes": cli.Sizes.run,
		"inspect <image>": cli.Inspect.run, "flash <image> <target>": cli.Flash.run,
	} {
		if name == command {
			return do(ctx, out)
		}
	}
	return program.Usagef("unknown command %q", command)
}

type output struct{ stdout, stderr io.Writer }
