// Package completion writes what makes a shell complete the command line of a
// program.
package completion

import (
	"fmt"
	"io"
	"strings"

	"phase/appliance/base/program"

	"github.com/alecthomas/kong"
)

// Write writes the completion for a shell (bash, zsh or fish) of a program whose
// command line is declared by cli, as program.Parse takes it: its commands and
// flags, and file names elsewhere.
func Write(w io.Writer, name string, cli any, shell string) error {
	model, err := program.Model(name, cli)
	if err != nil {
		return err
	}
	write, ok := shells[shell]
	if !ok {
		return program.Usagef("there is no completion for the shell %q; bash, zsh and fish have one", shell)
	}
	_, err = io.WriteString(w, write(name, words(model, "", model.Flags)))
	return err
}

// word is something that can follow a command.
type word struct {
	after string // the commands before it, each with a space behind
	text  string
	help  string
}

// words lists commands, long flags and what an argument can be, depth first.
// general are the flags that every command has.
func words(node *kong.Node, after string, general []*kong.Flag) (list []word) {
	for _, child := range node.Children {
		if !child.Hidden {
			list = append(list, word{after, child.Name, child.Help})
		}
	}
	for _, argument := range node.Positional {
		for _, text := range argument.EnumSlice() {
			if text != "" {
				list = append(list, word{after, text, ""})
			}
		}
	}
	flags := node.Flags
	if after != "" {
		flags = append(flags[:len(flags):len(flags)], general...)
	}
	for _, flag := range flags {
		if !flag.Hidden {
			list = append(list, word{after, "--" + flag.Name, flag.Help})
		}
	}
	for _, child := range node.Children {
		if !child.Hidden {
			list = append(list, words(child, after+child.Name+" ", general)...)
		}
	}
	return list
}

var shells = map[string]func(name string, list []word) string{"bash": bash, "zsh": zsh, "fish": fish}

// table is the words after each command, as lines of a shell's case.
func table(list []word) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		after := list[i].after
		var texts []string
		for ; i < len(list) && list[i].after == after; i++ {
			texts = append(texts, list[i].text)
		}
		fmt.Fprintf(&b, "    %q) words=%q ;;\n", after, strings.Join(texts, " "))
	}
	return b.String()
}

// commands is every command that has words of its own, as a shell pattern.
func commands(list []word) string {
	seen, patterns := map[string]bool{"": true}, []string{}
	for _, w := range list {
		if !seen[w.after] {
			seen[w.after] = true
			patterns = append(patterns, fmt.Sprintf("%q", w.after))
		}
	}
	return strings.Join(patterns, "|")
}

func bash(name string, list []word) string {
	return fmt.Sprintf(`# bash completion of %[1]s
_%[1]s() {
  local at= words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at${COMP_WORDS[i]} " in
    %[2]s) at="$at${COMP_WORDS[i]} " ;;
    esac
  done
  case "$at" in
%[3]s  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _%[1]s %[1]s
`, name, commands(list), table(list))
}

func zsh(name string, list []word) string {
	return fmt.Sprintf(`#compdef %[1]s
_%[1]s() {
  local at= words_of= i words_typed=("${words[@]}")
  for ((i = 2; i < CURRENT; i++)); do
    case "$at${words_typed[i]} " in
    %[2]s) at="$at${words_typed[i]} " ;;
    esac
  done
  case "$at" in
%[3]s  esac
  compadd -- ${=words_of}
  _files
}
compdef _%[1]s %[1]s
# Installed, the file is the function at its first call; sourced, it is not.
if [ "$funcstack[1]" = "_%[1]s" ]; then _%[1]s; fi
`, name, commands(list), strings.ReplaceAll(table(list), ") words=", ") words_of="))
}

func fish(name string, list []word) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# fish completion of %s\n", name)
	for _, w := range list {
		condition := "__fish_use_subcommand"
		if steps := strings.Fields(w.after); len(steps) > 0 {
			condition = "__fish_seen_subcommand_from " + strings.Join(steps, "; and __fish_seen_subcommand_from ")
		}
		kind := "-a " + w.text
		if flag, ok := strings.CutPrefix(w.text, "--"); ok {
			kind = "-l " + flag
		}
		help, _, _ := strings.Cut(w.help, "${")
		fmt.Fprintf(&b, "complete -c %s -n '%s' %s -d '%s'\n", name, condition, kind, strings.ReplaceAll(help, "'", `\'`))
	}
	return b.String()
}
