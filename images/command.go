package images

import (
	"context"
	"fmt"
	"io"
	"strings"

	"phase/appliance/base/names"
	"phase/appliance/base/program"
	"phase/appliance/release/manifest"
)

// Run is the images program.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var cli struct {
		Build   buildCommand   `cmd:"" help:"Build a release of this checkout, the disk image and the virtual machine's image that carry it."`
		Key     keyCommand     `cmd:"" help:"Make a folder of keys: a root key, a release key, and the root document that names them; or one key pair."`
		Sign    signCommand    `cmd:"" help:"Sign a release again: another version, name, channel, expiry or rollout of the same artifacts; or add a signature to a file that somebody else made."`
		Attest  attestCommand  `cmd:"" help:"Write beside a release what is in it and who built it from what: a bill of materials and a signed provenance."`
		Rotate  rotateCommand  `cmd:"" help:"Make the root that follows the newest: other keys, thresholds or expiry; and say what a fleet will do with it."`
		Inspect inspectCommand `cmd:"" help:"Say what a root, a manifest, a folder of them, a disk image or a stick holds, and whether it is whole."`
		Sizes   sizesCommand   `cmd:"" help:"Say what a release and its images weigh, and what they may."`
		Flash   flashCommand   `cmd:"" help:"Write a disk image to a stick, with identifiers of its own, and read it back."`
	}
	command, err := program.Parse("images", "Makes, examines and flashes images of Phase.", &cli, args, stdout, stderr)
	if err != nil {
		return err
	}
	out := output{stdin, stdout, stderr}
	for name, do := range map[string]func(context.Context, output) error{
		"build": cli.Build.run, "key": cli.Key.run, "sign": cli.Sign.run, "attest": cli.Attest.run, "sizes": cli.Sizes.run,
		"rotate": cli.Rotate.run, "inspect": cli.Inspect.run, "flash": cli.Flash.run,
	} {
		// The parser names the arguments too: "inspect <image>".
		if word, _, _ := strings.Cut(command, " "); name == word {
			return do(ctx, out)
		}
	}
	return program.Usagef("unknown command %q", command)
}

type output struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// json prints an answer for programs.
func (o output) json(v any) error { return program.PrintJSON(o.stdout, v) }

// summary is what build and sign answer in JSON of a release in a folder.
func summary(m manifest.Manifest, digest names.Digest, folder string) map[string]any {
	return map[string]any{"version": m.Version, "name": m.Name, "channel": m.Channel, "arch": m.Arch, "digest": digest, "release": folder}
}

// headline names a release for a person.
func headline(m manifest.Manifest, digest names.Digest) string {
	return fmt.Sprintf("release %s/%s version %d (%s) %s", m.Channel, m.Arch, m.Version, m.Name, digest)
}

// parseArch reads --arch; one that does not exist is a command line that
// cannot be used.
func parseArch(text string) (string, error) {
	arch, err := names.ParseArch(text)
	if err != nil {
		return "", program.Usagef("--arch: %w", err)
	}
	return arch, nil
}

func parseChannel(flag, text string) (string, error) {
	channel, err := names.ParseChannel(text)
	if err != nil {
		return "", program.Usagef("%s: %w", flag, err)
	}
	return channel, nil
}
