package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"phase/appliance/base/names"
)

// NextCmdline writes the command line of the kernel that is jumped to: what its
// manifest asks for, every phase.* and console= word of the running command
// line, and the digest of the manifest on trial, unless it is zero. Words of
// phase.conf that hold are passed as conf (Options.Conf); the next kernel may
// come up without the disk they are on. The stub's root= travels as
// phase.disk=, so that the next init finds the same disk again and no other. first,
// unless it is empty, is the program in the initrd that the next kernel runs
// before the release's own init.
//
// A manifest that sets what is the owner's or the node's own (phase.*, init=,
// rdinit=, root=) is refused, and so is a line over 2047 bytes.
func NextCmdline(wanted, running string, conf []string, trial names.Digest, first string) (string, error) {
	if err := CheckCmdline(wanted); err != nil {
		return "", fmt.Errorf("the manifest's command line: %w", err)
	}
	next := split(wanted)
	var disk string
	for _, w := range slices.Concat(split(running), conf) {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case key == "phase.trial": // of the running release, not of the next
		case strings.HasPrefix(key, "phase."):
			// The last word of a key wins, so of two equal ones the first goes.
			next = slices.DeleteFunc(next, func(have string) bool { return have == w })
			next = append(next, w)
		case key == "console" && !slices.Contains(next, w): // named twice it prints twice
			next = append(next, w)
		case key == "root" && isDisk(value):
			disk = "phase.disk=" + value
		}
		if key == "phase.disk" {
			disk = ""
		}
	}
	if disk != "" {
		next = append(next, disk)
	}
	if !trial.IsZero() {
		next = append(next, "phase.trial="+trial.String())
	}
	if first != "" {
		next = append(next, "rdinit="+first)
	}
	for _, w := range next {
		if strings.ContainsAny(w, "\"\n\x00") {
			return "", fmt.Errorf("%s holds a quote, a newline or a zero byte, which no command line can carry", clean(w))
		}
	}
	line := joinQuoted(next)
	if len(line) > MaxNext {
		return "", fmt.Errorf("the next kernel's command line is %d bytes, more than the %d a kernel takes; shorten phase.* options", len(line), MaxNext)
	}
	return line, nil
}

// joinQuoted writes words as one line that split reads as the same words.
func joinQuoted(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if strings.ContainsAny(w, " \t") {
			quoted[i] = `"` + w + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// CheckCmdline refuses a manifest's command line that could redirect the boot:
// phase.*, init=, rdinit= and root= are not the release's to say, and neither
// a quote left open nor "--" may hide what is appended to it from the kernel.
func CheckCmdline(cmdline string) error {
	if len(cmdline) > MaxNext {
		return fmt.Errorf("cmdline has %d bytes, at most %d", len(cmdline), MaxNext)
	}
	if strings.ContainsFunc(cmdline, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("cmdline must be printable ASCII")
	}
	if strings.Count(cmdline, `"`)%2 != 0 {
		return errors.New("cmdline leaves a quote open")
	}
	// The kernel takes quotes off (lib/cmdline.c, next_arg), so "init=x" in
	// quotes is init=x. Splitting inside quotes too refuses more than it
	// must, and nothing less.
	for _, word := range strings.Fields(strings.ReplaceAll(cmdline, `"`, "")) {
		if word == "--" {
			return errors.New(`cmdline may not hold "--"`)
		}
		for _, taken := range []string{"phase.", "init=", "rdinit=", "root="} {
			if strings.HasPrefix(strings.ToLower(word), taken) {
				return fmt.Errorf("cmdline may not hold %.64q", word)
			}
		}
	}
	return nil
}
