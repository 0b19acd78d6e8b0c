package main

import (
	"fmt"
	"slices"
	"time"

	"phase/tests/lab"
)

// Aims of the project, from the same run.
const jumpAim = 1.0 // an update, of a cold boot without its firmware

type kind struct {
	name string
	of   func(round) start
}

// kinds of start, in the columns of the tables.
var kinds = []kind{
	{"COLD BOOT", func(r round) start { return r.Cold }},
	{"UPDATE", func(r round) start { return r.Jump }},
	{"FROM THE STORE", func(r round) start { return r.Stored }},
	{"STAYING", func(r round) start { return r.Stay }},
}

// table compares medians: where the time goes, by this host's clock and by that of the
// kernels, and the ratios that the project aims at.
func table(rounds []round) [][]string {
	first := []string{""}
	for _, k := range kinds {
		first = append(first, k.name)
	}
	rows := [][]string{first, row("from power on, or from the last 200", rounds, func(s start) time.Duration { return s.Total })}
	for _, name := range stageNames(rounds) {
		rows = append(rows, row("  "+name, rounds, func(s start) time.Duration { return s.find(name).Took }))
	}
	rows = append(rows, []string{}, row("by the kernels' own clocks", rounds, start.kernels))
	for _, name := range stageNames(rounds) {
		if name != stageFirmware && name != stageBetween {
			rows = append(rows, row("  "+name, rounds, func(s start) time.Duration { return s.find(name).Kernel }))
		}
	}
	cold := func(r round) time.Duration { return r.Cold.Total - r.Cold.find(stageFirmware).Took }
	return append(rows, []string{},
		[]string{"RATIO", "COLD BOOT LESS FIRMWARE", "UPDATE", "", "AIM"},
		ratio("of what is seen", rounds, cold, func(r round) time.Duration { return r.Jump.Total }, fmt.Sprintf("≤ %.2f", jumpAim)),
		ratio("by the kernels' own clocks", rounds, func(r round) time.Duration { return r.Cold.kernels() },
			func(r round) time.Duration { return r.Jump.kernels() }, ""))
}

func ratio(what string, rounds []round, of, is func(round) time.Duration, aim string) []string {
	a, b := lab.Median(rounds, of), lab.Median(rounds, is)
	return []string{what, seconds(a), seconds(b), fmt.Sprintf("%.2f", b.Seconds()/a.Seconds()), aim}
}

func row(what string, rounds []round, of func(start) time.Duration) []string {
	cells := []string{what}
	for _, k := range kinds {
		cells = append(cells, seconds(lab.Median(rounds, func(r round) time.Duration { return of(k.of(r)) })))
	}
	return cells
}

// seconds leaves out what took no time.
func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// stageNames are the stages that any start had, in order.
func stageNames(rounds []round) []string {
	var all []string
	for _, m := range leaving {
		all = append(all, m.stage)
	}
	all = append(all, stageFirmware, stageBetween)
	for _, m := range arriving {
		all = append(all, m.stage)
	}
	all = append(all, stageHeard)
	return slices.DeleteFunc(all, func(name string) bool {
		return !slices.ContainsFunc(rounds, func(r round) bool {
			return slices.ContainsFunc(kinds, func(k kind) bool { return k.of(r).find(name).Took != 0 })
		})
	})
}
