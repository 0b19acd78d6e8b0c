package netlab

import (
	"strings"
	"testing"
)

func TestProcess(t *testing.T) {
	m := NewMachine(t, "host")
	NewSwitch(t, "lan", Wire{}).Join(t, m, "eth0", "192.168.7.1/24")
	p := m.Start(t, Program{Path: "sh", Args: []string{"-c", "echo begun >&2; cat /proc/net/fib_trie; trap 'echo goodbye; exit 3' TERM; echo ready; while :; do sleep 60 & wait; done"}})
	p.AwaitText(t, "begun")
	p.AwaitText(t, "192.168.7.1")
	p.AwaitText(t, "ready")
	if err := p.Stop(t); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("ended with %v", err)
	}
	p.AwaitText(t, "goodbye")
	out, problems, err := m.Run(Program{Path: "sh", Args: []string{"-c", "cat; echo wrong >&2; exit 4"}, Input: "in"})
	if out != "in" || problems != "wrong\n" || err == nil {
		t.Errorf("printed %q and %q, %v", out, problems, err)
	}
}
