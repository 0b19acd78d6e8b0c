package program

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manualWord asks a program for its manual page, with the name that it is called by
// behind it. It stands in no help text: packages ask, people read what they installed.
const manualWord = "--man"

// manual writes the manual page of a command line, as man(7) has it: all that its
// help texts say, in one page.
func manual(w io.Writer, called, about string, app *kong.Application) error {
	var b strings.Builder
	page := strings.ReplaceAll(called, " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Phase\" \"User Commands\"\n", strings.ToUpper(roff(page)))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(page), roff(sentence(about)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n%s\n", roff(called), roff(words(app.Node)))
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(about))
	if commands := app.Leaves(true); len(app.Children) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range commands {
			if c.Type == kong.CommandNode {
				fmt.Fprintf(&b, ".SS %s %s\n%s\n", roff(c.Path()), roff(words(c)), roff(c.Help))
				options(&b, c, app.Node)
			}
		}
	}
	b.WriteString(".SH OPTIONS\n")
	options(&b, app.Node, nil)
	b.WriteString(".SH EXIT STATUS\n0 for success, 1 when refused or failed, 2 for a command line that cannot be used.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// words is what can follow a command: its arguments, or that there are some.
func words(node *kong.Node) string {
	if len(node.Children) > 0 {
		return "COMMAND [OPTIONS]"
	}
	texts := []string{"[OPTIONS]"}
	for _, a := range node.Positional {
		texts = append(texts, a.Summary())
	}
	return strings.Join(texts, " ")
}

// options lists the arguments and flags of a command and of those it stands
// below, up to but without end.
func options(b *strings.Builder, node, end *kong.Node) {
	for ; node != nil && node != end; node = node.Parent {
		for _, a := range node.Positional {
			item(b, a.Summary(), a.Help)
		}
		for _, f := range node.Flags {
			if f.Hidden {
				continue
			}
			name := "--" + f.Name
			if f.Short != 0 {
				name = "-" + string(f.Short) + ", " + name
			}
			if !f.IsBool() && !f.IsCounter() {
				name += "=" + f.FormatPlaceHolder()
			}
			item(b, name, f.Help)
		}
	}
}

func item(b *strings.Builder, name, help string) {
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(help))
}

// sentence is a line of a list: no capital, no full stop.
func sentence(about string) string {
	return strings.ToLower(about[:1]) + strings.TrimSuffix(about[1:], ".")
}

// roff escapes what means something to the formatter: backslashes, minus signs,
// which would be hyphens, and a full stop or quote that begins a line.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
