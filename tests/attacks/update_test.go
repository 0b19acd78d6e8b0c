package attacks

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"phase/appliance/base/statefile"
	"phase/appliance/release/layout"
	"phase/tests/hostile"
	"phase/tests/netlab"
)

// updateRows has update look for a release among all hostile providers at once,
// each named by its owner, and then take that of the first honest one.
func updateRows(t *testing.T, m *matrix) {
	netlab.NeedRoot(t)
	p := newProject(t)
	wire := netlab.NewSwitch(t, "segment", netlab.Wire{})
	strangers := netlab.NewMachine(t, "strangers")
	wire.Join(t, strangers, "eth0", strangerAddress+"/24")
	tried := p.Release(t, "stable", p.made.Running.Arch, nextVersion+1, map[string]int{"kernel": 1, "initramfs": 2, "rootfs": 3})
	list := append(hostile.All(t, p.made), hostile.Provider{
		Name: "failed-before", Did: "a release that was tried here and never came up", Codes: "failed_before", Serve: open(tried).Honest(nil),
	})
	urls := map[string]string{}
	var named []string
	for _, h := range list {
		urls[h.Name] = serve(t, on(t, strangers, strangerAddress), h.Serve)
		named = append(named, urls[h.Name])
	}
	n := newNode(t, p, named...)
	wire.Join(t, n.Machine, "eth0", nodeAddress+"/24")
	n.Failed(t, tried)
	n.Start(t)
	n.Update.AwaitText(t, "looking for a release newer than version 10")

	var rows []row
	for _, h := range list {
		rows = append(rows, row{h.Class, h.Name, h.Did + ", among all of these", func(t *testing.T) (string, bool) {
			return n.verdict(t, urls[h.Name], h.Codes)
		}})
	}
	m.try(t, "update", rows...)
	m.try(t, "update", row{7, "evidence", "another signed release of the running version: it is kept as evidence", func(t *testing.T) (string, bool) {
		twin := hostile.Named(list, "twin")[0].Document
		return n.evidence(t, twin)
	}})
	m.try(t, "update", row{10, "honest", fmt.Sprintf("one honest provider comes to %d hostile ones", len(list)), func(t *testing.T) (string, bool) {
		return n.takes(t, p, wire)
	}})
}

// on listens on a port of a machine.
func on(t *testing.T, m *netlab.Machine, address string) (l net.Listener) {
	t.Helper()
	m.Do(t, func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	})
	return l
}

// verdict waits for what update says of a provider, and expects the same in
// /status.
func (n *node) verdict(t *testing.T, url, codes string) (string, bool) {
	t.Helper()
	refused := regexp.MustCompile(`(?:refused|dropped) ` + regexp.QuoteMeta(url) + `: .* \((` + codes + `)\)$`)
	found := regexp.MustCompile(`found version \d+ .* at ` + regexp.QuoteMeta(url) + `$`)
	// A good manifest is found first, and the bytes are refused later.
	line := n.Update.Await(t, "what becomes of "+url, func(line string) bool {
		return refused.MatchString(line) || found.MatchString(line) && !strings.Contains(line, fmt.Sprintf("version %d ", nextVersion))
	})
	said := strings.TrimPrefix(line, "warn: ")
	groups := refused.FindStringSubmatch(line)
	if groups == nil {
		return said, false
	}
	shown := slices.ContainsFunc(n.Status(t).Update.History, func(a statefile.Attempt) bool {
		return a.Provider == url && a.Result == "refused" && a.Code == groups[1] && a.Reason != ""
	})
	if !shown {
		said += " (/status does not show it)"
	}
	return said, shown
}

// evidence expects a manifest among what the node keeps of two releases of one
// version, and a word of it.
func (n *node) evidence(t *testing.T, manifest []byte) (string, bool) {
	said := n.Update.AwaitText(t, "two releases of one version")
	files, err := os.ReadDir(n.Path("perm/phase/evidence"))
	if err != nil || len(files) != 1 {
		return fmt.Sprint(files, err), false
	}
	kept, err := os.ReadFile(n.Path(filepath.Join("perm/phase/evidence", files[0].Name())))
	return said, err == nil && bytes.Equal(kept, manifest)
}

// takes lets an honest provider come, the real one, and waits until update has
// its release; nothing of what the node had is lost.
func (n *node) takes(t *testing.T, p *project, wire *netlab.Switch) (string, bool) {
	if err := n.well(t, p); err != nil {
		return err.Error(), false
	}
	honest := netlab.NewMachine(t, "honest")
	wire.Join(t, honest, "eth0", honestAddress+"/24")
	dir := t.TempDir()
	p.Write(t, dir, p.next)
	honest.Start(t, netlab.Program{Path: phase(t), Args: []string{"plasmd", "serve", "--artifacts", dir, "--root", dir + "/" + layout.Root(1)}, Quiet: true})
	n.Update.AwaitText(t, fmt.Sprintf("fetched and verified version %d", nextVersion))
	if err := n.well(t, p); err != nil {
		return err.Error(), false
	}
	for _, line := range slices.Backward(n.Update.Lines()) {
		if strings.Contains(line, "fetched and verified") {
			return line, true
		}
	}
	return "", false
}
