package docs

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// manual is the page of a program: its manual page, which it tells by itself (as
// the Debian package has it), in Markdown.
func manual(t *testing.T, name string) string {
	t.Helper()
	said, err := exec.Command(filepath.Join(bin(t), name), "--man", name).Output()
	if err != nil {
		t.Fatalf("%s --man: %v", name, err)
	}
	return markdown(name, string(said))
}

// markdown turns a manual page of appliance/base/program into Markdown: a heading
// a command, a row an option.
func markdown(name, page string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", name)
	section, table := "", false
	for lines := strings.Split(strings.TrimSpace(page), "\n"); len(lines) > 0; lines = lines[1:] {
		line := lines[0]
		request, rest, _ := strings.Cut(line, " ")
		rest = plain(rest)
		if request != ".TP" && table {
			b.WriteString("\n")
			table = false
		}
		switch {
		case request == ".TH":
		case request == ".SH":
			if section = rest; rest == "OPTIONS" && strings.Contains(page, ".SS ") {
				b.WriteString("## Of every command\n\n")
			} else if rest == "EXIT STATUS" {
				b.WriteString("## Exit status\n\n")
			}
		case section == "NAME":
		case section == "SYNOPSIS" && request == ".B":
			words := ""
			if len(lines) > 1 {
				words, lines = " "+plain(lines[1]), lines[1:]
			}
			fmt.Fprintf(&b, "`%s%s`\n\n", rest, words)
		case request == ".SS":
			command := regexp.MustCompile(` *(\[| <|COMMAND).*`).ReplaceAllString(rest, "")
			fmt.Fprintf(&b, "## %s %s\n\n`%s %s`\n\n", name, command, name, rest)
		case request == ".TP" && len(lines) > 2:
			if !table {
				b.WriteString("| option | what |\n|---|---|\n")
				table = true
			}
			_, option, _ := strings.Cut(lines[1], " ")
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(plain(option), "|", `\|`), cell(plain(lines[2])))
			lines = lines[2:]
		default:
			fmt.Fprintf(&b, "%s\n\n", cell(plain(line)))
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// plain takes roff's escapes back.
func plain(text string) string {
	return strings.NewReplacer(`\-`, "-", `\e`, `\`, `\&`, "").Replace(text)
}

// cell escapes what would mean something in a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "\n", " ").Replace(strings.TrimSpace(text))
}

func TestMarkdown(t *testing.T) {
	got := markdown("p", ".TH P 1\n.SH NAME\np \\- says\n.SH SYNOPSIS\n.B p\nCOMMAND [OPTIONS]\n.SH DESCRIPTION\nSays.\n.SH COMMANDS\n"+
		".SS up now [OPTIONS] <what> ...\nGoes up.\n.TP\n.B \\-w, \\-\\-wide=a|b\nMore <columns>.\n.SH OPTIONS\n.TP\n.B \\-\\-help\nHelps.\n.SH EXIT STATUS\n0.\n")
	want := "# p\n\n`p COMMAND [OPTIONS]`\n\nSays.\n\n## p up now\n\n`p up now [OPTIONS] <what> ...`\n\nGoes up.\n\n| option | what |\n|---|---|\n" +
		"| `-w, --wide=a\\|b` | More &lt;columns>. |\n\n## Of every command\n\n| option | what |\n|---|---|\n| `--help` | Helps. |\n\n## Exit status\n\n0.\n"
	if got != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}
