package main

import "fmt"

const (
	step  = 32   // MiB between two sizes that are told apart
	floor = 96   // MiB in which nothing boots; never tried
	most  = 2048 // MiB beyond which nobody looks
)

// outcome is how the loop went in one size of memory.
type outcome struct {
	worked bool
	why    string // it did not
}

// found is the end of a search.
type found struct {
	least int    // MiB; 0: not even the most was enough
	below string // how it failed with one step less
}

// search bisects between sizes that fail and sizes that work, beginning with a
// guess. It takes for granted that what works in some memory works in more.
func search(guess int, try func(mib int) (outcome, error)) (found, error) {
	low, high := floor, 0 // fails; works (0: none known yet)
	var f found
	for next := guess; ; {
		o, err := try(next)
		if err != nil {
			return f, fmt.Errorf("with %d MiB: %w", next, err)
		}
		if o.worked {
			high = next
		} else {
			low, f.below = next, o.why
		}
		switch {
		case high == 0 && low >= most:
			return f, nil
		case high == 0:
			next = min(low+low/2/step*step+step, most)
		case high-low <= step:
			f.least = high
			return f, nil
		default:
			next = low + (high-low)/2/step*step
		}
	}
}
