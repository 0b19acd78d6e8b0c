// Package network tests the network of nodes as a whole: processes of their own,
// in machines of their own, on wires that delay and lose.
package network

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"phase/tests/netlab"
)

// roles are what the test's binary does in the machines.
var roles = map[string]netlab.Role{"table": tableRole, "crowd": crowdRole}

func TestMain(m *testing.M) { netlab.Main(m, roles) }

// all says whether the tests that take long are to run too.
func all() bool { return os.Getenv("PHASE_TIER") == "all" }

// times are how long each of many things took; the failed ones are not in it.
type times []time.Duration

// share is the time within which that share of them was done.
func (t times) share(of float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	slices.Sort(t)
	return t[min(len(t)-1, int(of*float64(len(t))))]
}

func (t times) String() string {
	ms := func(of float64) float64 { return float64(t.share(of).Microseconds()) / 1000 }
	return fmt.Sprintf("%d, p50 %.1f ms, p95 %.1f ms, max %.1f ms", len(t), ms(0.5), ms(0.95), ms(1))
}
