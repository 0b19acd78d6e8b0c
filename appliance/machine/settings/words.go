package settings

import (
	"fmt"
	"strings"
)

// word is one setting as it was written.
type word struct {
	text  string // key=value
	key   string
	value string
}

func newWord(text string) word {
	key, value, _ := strings.Cut(text, "=")
	return word{text, key, value}
}

type parser struct {
	options  Options
	problems []Problem
	noise    []Problem       // lines that are no setting at all: reported last
	last     map[string]word // the last usable word of each key
}

func (p *parser) report(w word, detail string) {
	p.problems = append(p.problems, Problem{clean(w.text), detail})
}

// words returns the phase.* settings of a command line; the rest is the kernel's.
func (p *parser) words(cmdline string) []word {
	if len(cmdline) > MaxCmdline {
		cmdline = wholeWords(cmdline[:MaxCmdline+1], " \t\n")
		p.problems = append(p.problems, Problem{Detail: fmt.Sprintf("the command line is longer than %d bytes; the rest of it is not read", MaxCmdline)})
	}
	var words []word
	for _, text := range split(cmdline) {
		if strings.HasPrefix(text, "phase.") {
			words = append(words, newWord(text))
		}
	}
	return words
}

// lines returns the settings of phase.conf: one a line, # begins a comment,
// and the file is filled up to its fixed size with spaces, newlines or zeros.
func (p *parser) lines(conf string) []word {
	if len(conf) > MaxConf {
		conf = wholeWords(conf[:MaxConf+1], "\n")
		p.problems = append(p.problems, Problem{Detail: fmt.Sprintf("phase.conf is longer than %d KiB; the rest of it is not read", MaxConf>>10)})
	}
	var words []word
	for line := range strings.SplitSeq(conf, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.Trim(line, " \t\r\x00")
		if line == "" {
			continue
		}
		w := newWord(line)
		if !strings.HasPrefix(line, "phase.") || strings.ContainsAny(line, " \t\"") {
			// Spaces and quotes would become other words on the next command line.
			// A misspelt setting must not go unmentioned among the lines of a
			// file that is garbage for the most part.
			problem := Problem{clean(w.text), "want one phase.KEY=VALUE a line in phase.conf; the line is ignored"}
			if strings.HasPrefix(line, "phase.") {
				p.problems = append(p.problems, problem)
			} else {
				p.noise = append(p.noise, problem)
			}
			continue
		}
		words = append(words, w)
	}
	return words
}

// wholeWords cuts s after its last separator, so that no setting is read by half.
func wholeWords(s, separators string) string {
	return s[:strings.LastIndexAny(s, separators)+1]
}

// split cuts a command line into words as the kernel does (next_arg in
// lib/cmdline.c): white space separates, except between double quotes, and
// quotes around a word or its value are dropped.
func split(cmdline string) []string {
	var words []string
	quoted, start := false, -1
	flush := func(end int) {
		if start >= 0 {
			words = append(words, unquote(cmdline[start:end]))
		}
		start = -1
	}
	for i := range len(cmdline) {
		c := cmdline[i]
		space := c == ' ' || c == '\t' || c == '\n' || c == 0
		if space && !quoted {
			flush(i)
			continue
		}
		if start < 0 {
			start = i
		}
		if c == '"' {
			quoted = !quoted
		}
	}
	flush(len(cmdline))
	return words
}

func unquote(w string) string {
	if rest, ok := strings.CutPrefix(w, `"`); ok {
		return strings.TrimSuffix(rest, `"`)
	}
	key, value, ok := strings.Cut(w, "=")
	if rest, quoted := strings.CutPrefix(value, `"`); ok && quoted {
		return key + "=" + strings.TrimSuffix(rest, `"`)
	}
	return w
}

// usable says whether a word's key is known and its value understood.
func (w word) usable() bool {
	read, known := keys[w.key]
	scratch := Default()
	return known && read(&scratch, w.value) == nil
}

// apply puts a word into the options and says whether it took effect.
func (p *parser) apply(w word) bool {
	read, known := keys[w.key]
	if !known {
		p.report(w, "is no option; it is ignored")
		return false
	}
	// A second word of a key replaces the first, except in the list of
	// providers; and a word that is not understood undoes no word that is.
	before := p.options
	if w.key == "phase.bootstrap" {
		p.options.Bootstrap = nil
	}
	if err := read(&p.options, w.value); err != nil {
		if _, ok := p.last[w.key]; ok {
			p.options = before
			p.report(w, "is not understood; "+p.last[w.key].text+" holds")
			return false
		}
		p.report(w, err.Error())
		return false
	}
	p.last[w.key] = w
	return true
}
