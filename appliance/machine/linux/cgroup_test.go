package linux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a kernel without the controller has is not made up for; that it works
// where it is there, tests/machines shows under a node's kernel.
func TestDelegateMemory(t *testing.T) {
	root := t.TempDir()
	if leaf, err := DelegateMemory(root, "x", DaemonGroup, 0, 0); leaf != "" || err != nil {
		t.Errorf("no control groups: %q, %v", leaf, err)
	}
	for controllers, fails := range map[string]bool{"": false, "cpu io\n": false, "hugetlb memory_x\n": false, "cpu memory\n": true} {
		if err := os.WriteFile(filepath.Join(root, "cgroup.controllers"), []byte(controllers), 0o600); err != nil {
			t.Fatal(err)
		}
		leaf, err := DelegateMemory(root, "x", DaemonGroup, 0, 0)
		if leaf != "" || (err != nil) != fails || fails && !strings.Contains(err.Error(), "making the control group x") {
			t.Errorf("%q: %q, %v", controllers, leaf, err)
		}
	}
}
