package powercut

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"phase/tests/nbd"
)

// A seed is a plan, and seeds that follow each other leave no phase out.
func TestPlans(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(10 * len(drawn)) {
		p, again := newPlan(seed), newPlan(seed)
		if !reflect.DeepEqual(p.lives, again.lives) || p.loss.Uint64() != again.loss.Uint64() {
			t.Fatalf("seed %d: %+v, then %+v", seed, p, again)
		}
		if len(p.lives) != CutsPerNode+1 || !p.lives[CutsPerNode].last {
			t.Errorf("seed %d has %d lives", seed, len(p.lives))
		}
		for i, l := range p.lives[:CutsPerNode] {
			seen[l.phase.name]++
			if x := l.trigger; x.changes+x.lines == 0 && x.after == 0 || l.phase.fresh && i > 0 {
				t.Errorf("seed %d, life %d: %+v", seed, i, l)
			}
		}
	}
	for _, p := range append(slices.Clone(phases), idle) {
		if seen[p.name] < 10 {
			t.Errorf("%q is cut %d times", p.name, seen[p.name])
		}
	}
}

func TestTable(t *testing.T) {
	rows := Table([]Result{
		{Seed: 5, Cuts: []Cut{{Phase: "jump", Version: nextVersion, Loss: nbd.Loss{Dropped: 2, Torn: 1}}, {Phase: "load", Bricked: true}}},
		{Seed: 6, Cuts: []Cut{{Phase: "jump", Version: stubVersion, Problems: []string{"lost"}}}},
	})
	want := map[string]string{"jump": "jump|2|2|1|0|1 × N, 1 × N+1|0|1|6", "load": "load|1|0|0|0||1|0|5", "all": "all|3|2|1|0|1 × N, 1 × N+1|1|1|5 6"}
	for _, r := range rows {
		if w := want[r[0]]; w != "" && strings.Join(r, "|") != w {
			t.Errorf("%q, want %q", strings.Join(r, "|"), w)
		}
		delete(want, r[0])
	}
	if len(want) > 0 || len(rows) != len(phases)+3 {
		t.Errorf("%d rows, missing %v", len(rows), want)
	}
}

// What a cut must not cause is told from what it may.
func TestTrouble(t *testing.T) {
	for line, bad := range map[string]bool{
		"init: problem: persistent partition: mounting /dev/vda4: invalid argument; nothing is kept":  true,
		"init: problem: reading the journal of trials: unexpected end; it begins anew":                true,
		"EXT4-fs error (device vda4): ext4_lookup":                                                    true,
		"Kernel panic - not syncing: VFS":                                                             true,
		"init: problem: release sha256:00 was started and did not come up; it may be tried once more": false,
		"EXT4-fs (vda4): recovery complete":                                                           false,
		"init: stopping":                                                                              false,
	} {
		if trouble.MatchString(line) != bad {
			t.Errorf("%q is trouble: %v", line, !bad)
		}
	}
}

func TestOnlyDeleted(t *testing.T) {
	clean := "e2fsck 1.47.0 (5-Feb-2023)\nPass 1: Checking inodes, blocks, and sizes\nx: 11/2048 files (9.1% non-contiguous), 1618/8192 blocks\n"
	for out, only := range map[string]bool{
		clean: true,
		clean + "Clearing orphaned inode 12 (uid=0, gid=0, mode=0100644, size=1)\n": true,
		clean + "Free blocks count wrong (1, counted=2).\nFix? no\n":                true,
		clean + "Free blocks count wrong for group #1 (1, counted=2).\nFix? no\n":   false,
		"ext2fs_open2: Superblock checksum does not match superblock\n":             false,
	} {
		if onlyDeleted(out) != only {
			t.Errorf("%q: %v", out, !only)
		}
	}
}
