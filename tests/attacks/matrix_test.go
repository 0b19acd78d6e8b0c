// Package attacks tries every class of docs/threats.md on the real programs: the
// one binary of a node, as it is built, in processes of its own. Each row of the
// matrix is one attack and holds when the program refused it, said why, and lost
// nothing that it had. The table of rows is printed by `make test-attacks`, and
// `make test-attacks-mutants` shows for each check that the matrix goes red
// without it.
package attacks

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"phase/tests/netlab"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Rows wait far more than they compute.
	_ = flag.Lookup("test.parallel").Value.Set("32") // a number is one
	slog.SetDefault(slog.New(slog.DiscardHandler))   // the peers that the tests play
	netlab.Main(m, roles)
}

// row is one attack.
type row struct {
	class int    // of docs/threats.md; 0 for its second table
	name  string // of the subtest
	did   string // what is tried
	// try attacks, and returns what the program said, and whether it held.
	try func(t *testing.T) (said string, held bool)
}

// result is a row that was tried.
type result struct {
	class              int
	program, did, said string
	held               bool
}

// matrix collects what became of the rows.
type matrix struct {
	mu   sync.Mutex
	rows []result
}

// TestMatrix tries them all.
func TestMatrix(t *testing.T) {
	lookAtSources(t)
	m := &matrix{}
	t.Cleanup(func() { m.print(t) })
	for _, group := range []struct {
		program string
		rows    func(*testing.T, *matrix)
	}{
		{"verify", verifyRows},
		{"fetch", fetchRows},
		{"update", updateRows},
		{"kexec", kexecRows},
		{"discover", discoverRows},
		{"serve", serveRows},
		{"jobs", jobRows},
		{"receipt", receiptRows},
		{"plasmd", plasmdRows},
		{"roots", rootRows},
		{"crowd", crowdRows},
		{"elsewhere", elsewhereRows},
	} {
		t.Run(group.program, func(t *testing.T) {
			t.Parallel()
			group.rows(t, m)
		})
	}
}

// try tries rows side by side and returns when all are done.
func (m *matrix) try(t *testing.T, program string, rows ...row) {
	t.Helper()
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				got := result{class: r.class, program: program, did: r.did, said: "(the test ended before it answered)"}
				defer func() {
					m.mu.Lock()
					defer m.mu.Unlock()
					m.rows = append(m.rows, got)
				}()
				got.said, got.held = r.try(t)
				if !got.held {
					t.Errorf("not held: %s; it said: %s", r.did, got.said)
				}
			})
		}
	})
}

// tableVar names the file that the table is written to; empty: none.
const tableVar = "PHASE_ATTACKS_TABLE"

// print writes the table of all rows that were tried.
func (m *matrix) print(t *testing.T) {
	path := os.Getenv(tableVar)
	if path == "" {
		return
	}
	rows := slices.Clone(m.rows)
	slices.SortStableFunc(rows, func(a, b result) int {
		if (a.class == 0) != (b.class == 0) { // the second table comes last
			return cmp.Compare(b.class, a.class)
		}
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.program, b.program), cmp.Compare(a.did, b.did))
	})
	var table strings.Builder
	classes, held := map[int]bool{}, 0
	for _, r := range rows {
		class, answer := fmt.Sprint(r.class), "held"
		if r.class == 0 {
			class = "-"
		}
		if classes[r.class] = true; r.held {
			held++
		} else {
			answer = "NOT HELD"
		}
		fmt.Fprintf(&table, "%-3s %-9s %-8s %s\n%22s-> %s\n", class, r.program, answer, r.did, "", cut(r.said))
	}
	delete(classes, 0)
	fmt.Fprintf(&table, "%d of %d attacks held, of %d classes\n", held, len(rows), len(classes))
	if err := os.WriteFile(path, []byte(table.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// cut makes a line of the table of what a program said.
func cut(said string) string {
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > 200 {
		said = said[:200] + "…"
	}
	return said
}
