package powercut

import (
	"fmt"
	"strings"

	"phase/tests/nbd"
)

// Table is the campaign by phases: a heading, a row a phase, and the sum. What a
// node became after a cut is in the row of that cut.
func Table(results []Result) [][]string {
	rows := [][]string{{"PHASE", "CUTS", "WRITES LOST", "TORN", "KEPT", "CAME UP ON", "BRICKED", "NEED A HAND", "SEEDS OF THOSE"}}
	sum := newRow("all")
	for _, p := range append(phases[:len(phases):len(phases)], idle) {
		r := newRow(p.name)
		for _, x := range results {
			for _, c := range x.Cuts {
				if c.Phase == p.name {
					r.add(x.Seed, c)
					sum.add(x.Seed, c)
				}
			}
		}
		rows = append(rows, r.cells())
	}
	return append(rows, sum.cells())
}

type row struct {
	name                string
	cuts, bricked, hand int
	loss                nbd.Loss
	versions            map[uint64]int
	seeds               []string
}

func newRow(name string) *row { return &row{name: name, versions: map[uint64]int{}} }

func (r *row) add(seed uint64, c Cut) {
	r.cuts++
	r.loss.Dropped += c.Loss.Dropped
	r.loss.Torn += c.Loss.Torn
	r.loss.Kept += c.Loss.Kept
	if c.Version > 0 {
		r.versions[c.Version]++
	}
	switch {
	case c.Bricked:
		r.bricked++
	case len(c.Problems) > 0:
		r.hand++
	default:
		return
	}
	r.seeds = append(r.seeds, fmt.Sprint(seed))
}

func (r *row) cells() []string {
	on := []string{}
	for _, v := range []uint64{stubVersion, nextVersion, lastVersion} {
		if n := r.versions[v]; n > 0 {
			on = append(on, fmt.Sprintf("%d × %s", n, names[v]))
		}
	}
	return []string{r.name, fmt.Sprint(r.cuts), fmt.Sprint(r.loss.Dropped), fmt.Sprint(r.loss.Torn), fmt.Sprint(r.loss.Kept),
		strings.Join(on, ", "), fmt.Sprint(r.bricked), fmt.Sprint(r.hand), strings.Join(r.seeds, " ")}
}

var names = map[uint64]string{stubVersion: "N", nextVersion: "N+1", lastVersion: "N+2"}
