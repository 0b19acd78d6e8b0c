package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"phase/tests/netlab"
)

// elsewhereRows are attacks that tests of other packages try on the same real
// programs. Every run of all tests tries them there; for the table they are run
// from here.
func elsewhereRows(t *testing.T, m *matrix) {
	if os.Getenv(tableVar) == "" {
		t.Skip("they are tried where they are")
	}
	netlab.NeedRoot(t)
	there := func(class int, dir, test, did string) row {
		return row{class, test, did, func(t *testing.T) (string, bool) {
			command := exec.Command("go", "test", "-count=1", "-v", "-run", "^"+test+"$", "phase/"+dir)
			out, err := command.CombinedOutput()
			held := err == nil && strings.Contains(string(out), "--- PASS: "+test)
			if !held {
				t.Log(string(out))
			}
			return fmt.Sprintf("%s: %s", dir, lastLine(string(out))), held
		}}
	}
	m.try(t, "elsewhere",
		there(14, "tests/network", "TestPrivateMode", "a private node is watched on its segment: nothing names it, or shows that it was here before"),
		there(14, "tests/network", "TestLocalMode", "a node in local mode is told of peers beyond its link, and they knock"),
		there(10, "programs/update", "TestCrowdOnTheWire", "a crowd announces itself without end and never answers"),
	)
}
