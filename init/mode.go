package main

import (
	"fmt"
	"path/filepath"
	"time"

	"phase/appliance/machine/linux"
	"phase/appliance/machine/prompt"
	"phase/appliance/machine/settings"
)

// modeKeys are the modes in the order of the boot menu of UEFI, by the key for each.
var modeKeys = map[byte]settings.Mode{'1': settings.Internet, '2': settings.Local, '3': settings.Private}

// modeQuestion fits a line of a screen with 80 columns, the seconds included.
const modeQuestion = "1 internet, 2 local, 3 private; Enter: %s;"

// atConsoles asks at all consoles of this machine for the mode of this boot, and
// returns the one that was chosen; empty when none was.
func (n *node) atConsoles(o settings.Options) settings.Mode {
	terminals, err := linux.OpenTerminals()
	if err != nil {
		n.report.problem("asking for the mode: %v", err)
	}
	var consoles []prompt.Console
	for _, t := range terminals {
		consoles = append(consoles, t)
	}
	mode := n.askMode(o, consoles)
	for _, t := range terminals {
		if err := t.Close(); err != nil {
			n.report.problem("asking for the mode: %v", err)
		}
	}
	return mode
}

// askMode asks at consoles. Who sits there is the owner of the machine, and may
// choose a laxer mode than the settings.
func (n *node) askMode(o settings.Options, consoles []prompt.Console) settings.Mode {
	if len(consoles) == 0 {
		n.report.problem("there is no console to ask for the mode; mode %s holds", o.Mode)
		return ""
	}
	n.report.say("which mode for this boot? 1 internet, 2 local (this network only), 3 private (nothing is written); mode %s holds on Enter, and in %d s", o.Mode, o.Menu)
	keys := string(rune(prompt.Enter))
	for key := range modeKeys {
		keys += string(rune(key))
	}
	answer, err := prompt.Ask(consoles, fmt.Sprintf(modeQuestion, o.Mode), keys, time.Duration(o.Menu)*time.Second, n.clock)
	if err != nil {
		n.report.problem("asking for the mode: %v", err)
	}
	at := filepath.Base(answer.Console)
	switch mode := modeKeys[answer.Key]; {
	case mode != "":
		n.report.say("mode %s was chosen at %s, for this boot", mode, at)
		return mode
	case answer.Key == prompt.Enter:
		n.report.say("mode %s was confirmed at %s", o.Mode, at)
	default:
		n.report.say("no mode was chosen; mode %s holds", o.Mode)
	}
	return ""
}
