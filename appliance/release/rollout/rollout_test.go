package rollout_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"phase/appliance/base/names"
	"phase/appliance/release/manifest"
	"phase/appliance/release/rollout"
)

// The vectors belong to the format: see tests/vectors/README.md.
var update = flag.Bool("update", false, "write tests/vectors anew")

const vectorFile = "../../../tests/vectors/rollout/cases.json"

// vector is one line of the file: the place of a node, and the least percentage
// at which it takes the release, 1 to 100.
type vector struct {
	Seed    string `json:"seed"`
	Node    string `json:"node"`
	Place   uint64 `json:"place"`
	Percent int    `json:"percent"`
}

// peer is a text like a peer id; the hash is of the text alone.
func peer(i int) string { return fmt.Sprintf("12D3KooWNode%05d", i) }

func release(percent int, seed string, version uint64) manifest.Manifest {
	return manifest.Manifest{
		Version: version, Rollout: &manifest.Rollout{Percent: percent, Seed: seed},
		Artifacts: map[string]manifest.Artifact{"rootfs": {Size: 1, SHA256: names.Sum([]byte("rootfs"))}},
	}
}

// least is the least percentage at which a node takes a release.
func least(seed, node string) int {
	for percent := range 101 {
		if rollout.Takes(release(percent, seed, 1), node) {
			return percent
		}
	}
	return 101
}

func TestVectors(t *testing.T) {
	var made []vector
	for _, seed := range []string{"spring", "", "spring ", names.Sum([]byte("rootfs")).String()} {
		for i := range 5 {
			m := release(0, seed, 1)
			made = append(made, vector{seed, peer(i), rollout.Place(rollout.Seed(m), peer(i)), least(seed, peer(i))})
		}
	}
	data, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	if *update {
		if err := os.MkdirAll(filepath.Dir(vectorFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != string(data) {
		t.Errorf("%s is not what is made; run this test with -update and read the difference", vectorFile)
	}
}

// A fleet comes in by about the percentage; who is in stays in when it is
// raised, with another version of the same artifacts; 0 is nobody and 100 all.
func TestFleet(t *testing.T) {
	const nodes = 10_000
	in := func(percent int, seed string, version uint64) (n int, who [nodes]bool) {
		for i := range nodes {
			if who[i] = rollout.Takes(release(percent, seed, version), peer(i)); who[i] {
				n++
			}
		}
		return n, who
	}
	if n, _ := in(0, "", 1); n != 0 {
		t.Errorf("0 percent: %d nodes", n)
	}
	if n, _ := in(100, "", 1); n != nodes {
		t.Errorf("100 percent: %d nodes", n)
	}
	before := [nodes]bool{}
	for i, percent := range []int{1, 10, 50, 99} {
		n, who := in(percent, "", uint64(i+1))
		// Five standard deviations of a fair draw are at most 250 nodes.
		if want := nodes * percent / 100; n < want-250 || n > want+250 {
			t.Errorf("%d percent: %d of %d nodes", percent, n, nodes)
		}
		for node := range who {
			if before[node] && !who[node] {
				t.Fatalf("node %d was in, and is out at %d percent", node, percent)
			}
		}
		before = who
	}
	_, a := in(10, "spring", 1)
	_, b := in(10, "autumn", 1)
	both := 0
	for i := range a {
		if a[i] && b[i] {
			both++
		}
	}
	if both < 20 || both > 250 { // 100 of a fair draw
		t.Errorf("two seeds have %d nodes of 1000 in common", both)
	}
	if m := release(0, "", 1); !rollout.Takes(manifest.Manifest{}, peer(1)) || rollout.Seed(m) != m.Artifacts["rootfs"].SHA256.String() {
		t.Error("without a rollout all nodes take it, and the seed is the rootfs")
	}
}
