package main

import (
	"errors"
	"fmt"
	"testing"
)

func TestSearch(t *testing.T) {
	for _, guess := range []int{128, 320, 448, 2048} {
		for need := floor + 1; need <= most; need += 7 {
			tried := map[int]bool{}
			f, err := search(guess, func(mib int) (outcome, error) {
				if mib%step != 0 || mib <= floor || mib > most || tried[mib] {
					t.Fatalf("guess %d, need %d: tried %d MiB, once or again", guess, need, mib)
				}
				tried[mib] = true
				return outcome{mib >= need, fmt.Sprint(mib)}, nil
			})
			want := (need + step - 1) / step * step
			if err != nil || f.least != want {
				t.Fatalf("guess %d, need %d: %+v, %v", guess, need, f, err)
			}
			if len(tried) > 12 {
				t.Errorf("guess %d, need %d: %d tries", guess, need, len(tried))
			}
			if below := fmt.Sprint(want - step); want-step > floor && f.below != below {
				t.Fatalf("guess %d, need %d: one step less is told of as %s", guess, need, f.below)
			}
		}
	}
}

func TestSearchWithoutEnd(t *testing.T) {
	f, err := search(320, func(int) (outcome, error) { return outcome{why: "no"}, nil })
	if err != nil || f.least != 0 || f.below != "no" {
		t.Errorf("nothing works: %+v, %v", f, err)
	}
	broken := errors.New("no QEMU")
	if _, err := search(320, func(int) (outcome, error) { return outcome{}, broken }); !errors.Is(err, broken) {
		t.Errorf("a try that cannot be made: %v", err)
	}
}
