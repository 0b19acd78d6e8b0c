package bucket

import (
	"slices"
	"testing"
)

// Every node that fits what is asked for stands under a name that is looked for.
func TestNamesMeet(t *testing.T) {
	for cores := 1; cores <= 100; cores += 3 {
		for memory := 10; memory <= 9000; memory += 97 {
			stands := Of("x86_64", cores, memory)
			if len(stands) == 0 || len(stands) > 7 {
				t.Fatalf("%d cores stand in %q", cores, stands)
			}
			for _, asked := range []struct {
				arch          string
				cores, memory int
			}{{"", 0, 0}, {"", 1, 1}, {"", cores, memory}, {"x86_64", (cores + 1) / 2, memory/2 + 1}} {
				looks := For(asked.arch, asked.cores, asked.memory)
				if len(looks) > 14 || !slices.ContainsFunc(looks, func(b string) bool { return slices.Contains(stands, b) }) {
					t.Fatalf("%d cores, %d MiB stand in %q; %+v looks in %q", cores, memory, stands, asked, looks)
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	if got := Of("x86_64", 4, 2000); !slices.Equal(got, []string{"phase-cap/1/x86_64/c1/m1024", "phase-cap/1/x86_64/c2/m1024", "phase-cap/1/x86_64/c4/m1024"}) {
		t.Errorf("%q", got)
	}
	if got := For("arm64", 3, 1500); !slices.Equal(got, []string{"phase-cap/1/arm64/c2/m1024", "phase-cap/1/arm64/c2/m2048", "phase-cap/1/arm64/c2/m4096"}) {
		t.Errorf("%q", got)
	}
}
