package program

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/alecthomas/kong"

	"phase/appliance/base/names"
)

// Parse fills cli, a pointer to a struct with kong's field tags (cmd, arg,
// name, short, help, default, …), from args. It returns the chosen command's
// path ("provider list"), empty when cli has none. --help and --version print
// to stdout and return ErrDone; a command line that does not fit returns a
// usage error, which ends the program with exit code 2.
//
// Text is taken byte for byte, valid UTF-8 or not, as file names are. A flag
// that is given an empty text is refused: it comes from a variable that is not
// set, and would count as a flag that was not given. An int may have a tag
// range:"1-64", a text type:"channel" or type:"arch": then it is one of those,
// or what its default says.
func Parse(name, about string, cli any, args []string, stdout, stderr io.Writer) (command string, err error) {
	ended := false
	parser, err := kong.New(cli,
		kong.Name(name),
		kong.Description(about),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { ended = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"version": name + " " + Version},
		// What follows a flag is its value: -1 is a number out of range.
		kong.WithHyphenPrefixedParameters(true),
		kong.KindMapper(reflect.String, kong.MapperFunc(text)),
		kong.KindMapper(reflect.Int, kong.MapperFunc(whole)),
		kong.NamedMapper("channel", named(names.ParseChannel)),
		kong.NamedMapper("arch", named(names.ParseArch)),
		general,
	)
	if err != nil {
		return "", fmt.Errorf("building the command line of %s: %w", name, err)
	}
	if len(args) == 2 && args[0] == manualWord {
		if err := manual(stdout, args[1], about, parser.Model); err != nil {
			return "", err
		}
		return "", ErrDone
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

// Model is the command line that cli declares, for a reader of its commands and
// flags.
func Model(name string, cli any) (*kong.Node, error) {
	parser, err := kong.New(cli, kong.Name(name), kong.Vars{"version": ""}, general)
	if err != nil {
		return nil, fmt.Errorf("building the command line of %s: %w", name, err)
	}
	return parser.Model.Node, nil
}

// general is what every program has without a field of its own for it.
var general = kong.Embed(&struct {
	Version kong.VersionFlag `help:"Print the version and exit."`
}{})

// text takes a text as it is; kong's own way leads through JSON, which has no
// other bytes than UTF-8.
func text(ctx *kong.DecodeContext, target reflect.Value) error {
	value, err := pop(ctx, "string")
	if err != nil {
		return err
	}
	if value == "" && ctx.Value.Flag != nil {
		return errors.New("the value is empty; leave the flag out instead")
	}
	target.SetString(value)
	return nil
}

// named takes a name that parse knows, or the word of the default.
func named(parse func(string) (string, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		if err := text(ctx, target); err != nil || target.String() == ctx.Value.Default {
			return err
		}
		name, err := parse(target.String())
		target.SetString(name)
		return err
	}
}

// whole reads an int and holds it to the range in its field's tag.
func whole(ctx *kong.DecodeContext, target reflect.Value) error {
	value, err := pop(ctx, "int")
	if err != nil {
		return err
	}
	allowed := ""
	var least, most int64
	if tag := ctx.Value.Tag.Get("range"); tag != "" {
		if _, err := fmt.Sscanf(tag, "%d-%d", &least, &most); err != nil {
			return fmt.Errorf("the range %q of the declaration: %w", tag, err)
		}
		allowed = fmt.Sprintf(", %d to %d is allowed", least, most)
	}
	n, err := strconv.ParseInt(value, 10, target.Type().Bits())
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return fmt.Errorf("%.40q is not a whole number%s", value, allowed)
	case err != nil, allowed != "" && (n < least || n > most):
		return fmt.Errorf("%.40s is out of range%s", value, allowed)
	}
	target.SetInt(n)
	return nil
}

// pop takes the next word of the command line, or a default.
func pop(ctx *kong.DecodeContext, kind string) (string, error) {
	token, err := ctx.Scan.PopValue(kind)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(token.Value), nil
}
