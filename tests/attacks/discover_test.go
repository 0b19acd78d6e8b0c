package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"

	"phase/appliance/network/lan"
	"phase/tests/hostile"
	"phase/tests/netlab"
)

// roles are what the test's own binary does in machines.
var roles = map[string]netlab.Role{"announcer": announcer}

// announced is a node that announces itself and hands out one manifest.
type announced struct {
	Name     string
	Arch     string
	Version  uint64
	Manifest []byte
}

// announcer answers and announces until the test ends.
func announcer(ctx context.Context, args []byte, say func(any)) error {
	var a announced
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	l, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	go hostile.Offer(a.Manifest, nil)(l)
	node, err := lan.Announce(ctx, lan.Config{Name: a.Name, Port: 8080, Peer: "12D3KooWnobody",
		Instances: []lan.Instance{{Channel: "stable", Arch: a.Arch, Version: a.Version}}})
	if err != nil {
		return err
	}
	say("announced")
	<-node.Done()
	return nil
}

// discoverRows have a person look for nodes among strangers who announce
// themselves under the name of an honest one.
func discoverRows(t *testing.T, m *matrix) {
	netlab.NeedRoot(t)
	p := newProject(t)
	arch := p.made.Running.Arch
	const name = "phase-0a1b2c3d"
	forged := hostile.Named(hostile.Software(t, p.made), "unknown-keys")[0].Document
	machine := func(t *testing.T, wire *netlab.Switch, last int) *netlab.Machine {
		n := netlab.NewMachine(t, fmt.Sprint("m", last))
		wire.Join(t, n, "eth0", fmt.Sprintf("10.9.0.%d/24", last))
		return n
	}
	look := func(t *testing.T, n *netlab.Machine) (found []struct {
		Version uint64
		URL     string
	}, stderr string, err error) {
		stdout, stderr, err := n.Run(netlab.Program{Path: phase(t), Args: []string{"discover", "--json", "--timeout", "3s", "--ephemeral",
			"--root", write(t, "root.json", p.Root.Raw()), "--channel", "stable", "--arch", arch}, Env: []string{"HOME=" + t.TempDir()}})
		if jsonErr := json.Unmarshal([]byte(stdout), &found); jsonErr != nil {
			t.Fatalf("%q, %q: %v", stdout, stderr, jsonErr)
		}
		return found, stderr, err
	}
	liar := announced{name, arch, 5000, forged}
	m.try(t, "discover",
		row{1, "stranger", "a stranger alone announces version 5000: nothing is listed", func(t *testing.T) (string, bool) {
			wire := netlab.NewSwitch(t, "alone", netlab.Wire{})
			seeker := machine(t, wire, 1)
			machine(t, wire, 2).Again(t, "announcer", liar).AwaitText(t, "announced")
			found, stderr, err := look(t, seeker)
			return lastLine(stderr), err != nil && len(found) == 0 && has(stderr, "code=signature")
		}},
		row{0, "impostor", "a stranger announces under the name of an honest node: that one is listed alone", func(t *testing.T) (string, bool) {
			wire := netlab.NewSwitch(t, "both", netlab.Wire{})
			seeker := machine(t, wire, 1)
			machine(t, wire, 2).Again(t, "announcer", liar).AwaitText(t, "announced")
			machine(t, wire, 3).Again(t, "announcer", announced{name, arch, nextVersion, p.next.Envelope()}).AwaitText(t, "announced")
			found, stderr, err := look(t, seeker)
			return fmt.Sprintf("%+v; %s", found, lastLine(stderr)), err == nil && len(found) == 1 && found[0].Version == nextVersion && has(stderr, "code=signature")
		}},
	)
}
