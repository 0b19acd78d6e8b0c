// Package settings turns the kernel command line and phase.conf, the settings
// flashed with a stick, into typed options, and writes the command line of the
// next kernel. What a mode forbids is already applied in the Options it returns,
// so that no program has to know the rules of the modes.
package settings

import (
	"fmt"
	"strings"
)

// Sizes that are read. The kernels take 2048 bytes of command line on both
// architectures (COMMAND_LINE_SIZE), one of them the terminating zero.
const (
	MaxNext     = 2047     // bytes of a next kernel's command line
	MaxCmdline  = 4096     // bytes of a running kernel's command line that are read
	MaxConf     = 64 << 10 // bytes of phase.conf that are read
	maxProblems = 32       // problems that are reported; the rest are counted
	maxWord     = 100      // bytes of a word that are repeated in a problem
	maxList     = 32       // providers, bootstrap peers, admins
)

// Mode is how a node meets the world.
type Mode string

// The modes of phase.mode.
const (
	Internet Mode = "internet" // LAN and WAN, identity and store kept
	Local    Mode = "local"    // on-link prefixes only
	Private  Mode = "private"  // announces nothing, writes nothing, new identity at each boot
)

// Options is what the owner of a node asked for, with the mode's own rules
// already applied: private turns Cache off and NoWrite on, and has no Syslog.
type Options struct {
	Mode      Mode     `json:"mode"`
	Channel   string   `json:"channel"`             // stable, testing or nightly
	Provider  []string `json:"provider,omitempty"`  // http(s) URLs without a trailing slash
	Cache     bool     `json:"cache"`               // releases are kept on disk
	NoWrite   bool     `json:"nowrite"`             // nothing is written to any disk
	Bootstrap []string `json:"bootstrap,omitempty"` // multiaddrs
	Accept    string   `json:"accept,omitempty"`    // whose jobs run here: none or "", all, or peer ids with a comma between them
	Update    bool     `json:"update"`
	Mirror    []string `json:"mirror,omitempty"` // arches whose newest release is kept and served, beside the own
	// Admin is who may give this node orders about its updates: peer ids with a
	// comma between them, or "none". Empty: the holder of the owner's token may.
	Admin string `json:"admin,omitempty"`
	// Canary is whose failures hold a release back here, beside the admins': peer
	// ids with a comma between them.
	Canary string `json:"canary,omitempty"`
	// Window is when a release is taken by itself, as ParseWindow reads it.
	Window          string `json:"window,omitempty"`
	RequireWatchdog bool   `json:"require_watchdog,omitempty"` // no trial without a hardware watchdog
	IP              IP     `json:"ip"`
	Syslog          string `json:"syslog,omitempty"` // the server that the log is sent to, as syslog.ParseTarget reads it; "" for none
	Menu            int    `json:"menu,omitempty"`   // how long the consoles are asked for a mode, in seconds; 0: not at all

	// Trial is the digest of the manifest this boot tries, "sha256:<hex>", or
	// empty. It, Disk and Place are set by the jump, never by phase.conf.
	Trial string `json:"trial,omitempty"`
	// Disk names the boot disk of the stub that jumped here, in the words of
	// the kernel's root= ("PARTUUID=…" or "/dev/…"), or is empty.
	Disk string `json:"disk,omitempty"`
	// Place says where that disk is connected, which tells it from a copy of it,
	// or is empty. It is set by the jump too.
	Place string `json:"place,omitempty"`

	// Conf holds the words of phase.conf that took effect, and those of this boot:
	// phase.place=, and phase.mode= as it was chosen at a console. The next kernel is given them on its command line, since it may
	// come up without the disk.
	Conf []string `json:"conf,omitempty"`
}

// Problem is an option that was not understood, or that does not do what its
// words say.
type Problem struct {
	Word   string // as it was written, cleaned and cut
	Detail string // what is wrong, and what holds instead
}

func (p Problem) String() string {
	if p.Word == "" {
		return p.Detail
	}
	return p.Word + ": " + p.Detail
}

// Default returns the options of an empty command line.
func Default() Options {
	return Options{Mode: Internet, Channel: "stable", Cache: true, Update: true, IP: IP{}}
}

// Parse reads the kernel command line and the text of phase.conf. The command
// line wins: a key it holds (in a form that is understood) makes phase.conf's
// lines of that key count for nothing. Parse always returns usable options;
// what it could not use it reports. A value that is not understood never opens
// more than was asked for: see the table in keys.go.
func Parse(cmdline, conf string) (Options, []Problem) { return parse(cmdline, conf, "") }

// ParseIn is Parse for a boot whose mode was chosen at a console: it holds here,
// and by Options.Conf after a jump, whatever the command line and phase.conf say.
func ParseIn(mode Mode, cmdline, conf string) (Options, []Problem) {
	return parse(cmdline, conf, "phase.mode="+string(mode))
}

func parse(cmdline, conf, chosen string) (Options, []Problem) {
	p := parser{options: Default(), last: map[string]word{}}
	if chosen != "" {
		p.apply(newWord(chosen)) // what is not understood later on undoes it no more
	}
	line := p.words(cmdline)
	file := p.lines(conf)

	// phase.conf is applied first and the command line over it, but a key of
	// phase.conf must leave no trace when the command line sets it: lists
	// would otherwise add up.
	set := map[string]bool{}
	for _, w := range line {
		set[w.key] = set[w.key] || w.usable()
	}
	for _, w := range file {
		switch {
		case internal[w.key]:
			p.report(w, "is set by the jump itself and has no place in phase.conf")
		case set[w.key]:
			// Still looked at, so that a misspelt line is reported at every boot.
			if !w.usable() {
				p.report(w, "is not understood, and overruled by the command line")
			}
		default:
			if p.apply(w) {
				p.options.Conf = append(p.options.Conf, w.text)
			}
		}
	}
	for _, w := range line {
		p.apply(w)
	}
	if chosen != "" && p.apply(newWord(chosen)) {
		p.options.Conf = append(p.options.Conf, chosen)
	}
	p.mode()
	return p.options, p.all()
}

// clean makes a word from outside fit for a console line: one line, printable
// ASCII, at most 100 bytes.
func clean(s string) string {
	cut := len(s) > maxWord
	if cut {
		s = s[:maxWord]
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if cut {
		s += "..."
	}
	return s
}

// all returns the problems found, at most maxProblems and a count of the rest.
func (p *parser) all() []Problem {
	p.problems = append(p.problems, p.noise...)
	if len(p.problems) <= maxProblems {
		return p.problems
	}
	rest := len(p.problems) - maxProblems
	return append(p.problems[:maxProblems:maxProblems], Problem{Detail: fmt.Sprintf("%d more options are not understood", rest)})
}

// mode applies what the chosen mode forbids. The two switches only ever make a
// mode stricter, so asking for less is reported and changes nothing.
func (p *parser) mode() {
	o := &p.options
	if o.Mode != Private {
		if o.NoWrite {
			o.Cache = false
		}
		return
	}
	for _, laxer := range []string{"phase.cache=on", "phase.nowrite=off"} {
		w := newWord(laxer)
		if p.last[w.key].value == w.value {
			p.report(w, "mode private keeps and writes nothing; the mode holds")
		}
	}
	if o.Syslog != "" {
		p.report(newWord("phase.syslog="+o.Syslog), "mode private leaves no trace on the network; the log is sent nowhere")
	}
	o.Cache, o.NoWrite, o.Syslog = false, true, ""
}
