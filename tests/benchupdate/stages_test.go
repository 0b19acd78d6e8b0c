package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"phase/qemu"
)

const s = time.Second

var power = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// console makes events of lines: when they came after power on, the kernel's stamp, and
// what they say.
func console(lines ...any) (events []qemu.Event) {
	for i := 0; i < len(lines); i += 3 {
		events = append(events, qemu.Event{Kind: qemu.Line, Index: i / 3, Host: power.Add(lines[i].(time.Duration)), Kernel: lines[i+1].(time.Duration), Text: lines[i+2].(string)})
	}
	return events
}

// up are the lines of a release that comes up, begun at a moment.
func up(at time.Duration) []any {
	return []any{
		at + 3*s, 0 * s, "Linux version", // the console begins: an old line, long held back
		at + 4*s, 4 * s, "prompt",
		at + 6*s, 5 * s, "init: Phase test 2 (version 2",
		at + 8*s, 7 * s, "plasmd: walls",
		at + 11*s, 9 * s, "plasmd: serving http on [::]:8080",
		at + 30*s, 28 * s, "init: Phase of nobody, after the answer",
	}
}

func compare(t *testing.T, got start, total time.Duration, want []stage) {
	t.Helper()
	if got.Total != total || len(got.Stages) != len(want) {
		t.Fatalf("%+v, want %s of %+v", got, total, want)
	}
	var sum time.Duration
	for i, st := range got.Stages {
		if st != want[i] {
			t.Errorf("stage %d is %+v, want %+v", i, st, want[i])
		}
		sum += st.Took
	}
	if sum != total {
		t.Errorf("the stages are %s together, the start took %s", sum, total)
	}
}

func TestColdBoot(t *testing.T) {
	got := startOf(console(append([]any{1 * s, -1 * s, "SeaBIOS"}, up(2*s)...)...), power, power.Add(14*s))
	compare(t, got, 14*s, []stage{
		{stageFirmware, 2 * s, 2 * s},
		{"init, until the release greets", 6 * s, 5 * s},
		{"until plasmd runs", 2 * s, 2 * s},
		{"until it serves", 3 * s, 2 * s},
		{stageHeard, 1 * s, 1 * s},
	})
	if sum := got.kernels(); sum != 10*s {
		t.Errorf("by the kernel's clock it took %s", sum)
	}
}

// TestUpdate: what happens before the last answer is no part of it, and the two kernels
// have a clock each.
func TestUpdate(t *testing.T) {
	leave := []any{40 * s, 40 * s, "init: stopping", 43 * s, 43 * s, "init: jumping", 44 * s, 44 * s, "kexec_core: Starting new kernel"}
	got := startOf(console(append(leave, up(45*s)...)...), power.Add(41*s), power.Add(57*s))
	compare(t, got, 16*s, []stage{
		{"services and disk come to rest", 2 * s, 2 * s},
		{"the old kernel ends", 1 * s, 1 * s},
		{stageBetween, 1 * s, 1 * s},
		{"init, until the release greets", 6 * s, 5 * s},
		{"until plasmd runs", 2 * s, 2 * s},
		{"until it serves", 3 * s, 2 * s},
		{stageHeard, 1 * s, 1 * s},
	})
	if sum := got.kernels(); sum != 13*s {
		t.Errorf("by the kernels' clocks it took %s", sum)
	}
}

func TestAConsoleThatSaysNothing(t *testing.T) {
	compare(t, startOf(nil, power, power.Add(s)), s, []stage{{stageHeard, s, s}})
}

// TestPrint: a stage that a start does not have is left empty, and the ratio is that of
// the update and the cold boot less its firmware.
func TestPrint(t *testing.T) {
	r := round{
		Cold: start{Total: 12 * s, Stages: []stage{{stageFirmware, 2 * s, 2 * s}, {stageHeard, 10 * s, 8 * s}}},
		Jump: start{Total: 9 * s, Stages: []stage{{stageBetween, 1 * s, 1 * s}, {stageHeard, 8 * s, 6 * s}}},
	}
	var out strings.Builder
	if err := (answer{Arch: "x86_64", Rounds: []round{r}, Room: &room{3, 100, 105}}).print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^from power on, or from the last 200 +12\.00 s +9\.00 s`,
		`(?m)^  firmware, loader and unpacking +2\.00 s *$`,
		`(?m)^by the kernels' own clocks +8\.00 s +6\.00 s *$`,
		`(?m)^of what is seen +10\.00 s +9\.00 s +0\.90 +≤ 1\.00$`,
		`(?m)^by the kernels' own clocks +8\.00 s +6\.00 s +0\.75`,
		`3 releases takes 105 B on the disk, 1\.05 of the 100 B`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s is not in\n%s", want, out.String())
		}
	}
}
