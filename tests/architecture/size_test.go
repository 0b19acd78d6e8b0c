package architecture

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// How long code may be. A file is read in one go, a function fits on a screen.
const (
	maxFile          = 350 // lines, of tests too
	longFunction     = 60  // lines
	maxLongFunctions = 6   // in all that is built
	medianPackage    = 300 // lines, tests left out
)

func TestSizes(t *testing.T) {
	packages, long := map[string]int{}, []string{}
	product, tests := 0, 0
	for _, s := range read(t) {
		if s.lines > maxFile {
			t.Errorf("%s has %d lines, at most %d", s.name, s.lines, maxFile)
		}
		if !s.product() {
			tests += s.lines
			continue
		}
		product += s.lines
		packages[s.dir()] += s.lines
		for name, lines := range s.functions {
			if lines > longFunction {
				long = append(long, fmt.Sprintf("%s %s: %d lines", s.name, name, lines))
			}
		}
	}
	slices.Sort(long)
	if len(long) > maxLongFunctions {
		t.Errorf("%d functions have over %d lines, at most %d may:\n%s", len(long), longFunction, maxLongFunctions, strings.Join(long, "\n"))
	}
	var sizes []int
	for _, lines := range packages {
		sizes = append(sizes, lines)
	}
	slices.Sort(sizes)
	median := sizes[len(sizes)/2]
	if median > medianPackage {
		t.Errorf("the median package has %d lines, at most %d", median, medianPackage)
	}
	t.Logf("%d lines are built, %d test them (%.2f); %d packages, median %d lines; %d long functions",
		product, tests, float64(tests)/float64(product), len(sizes), median, len(long))
}
