package network

import (
	"path/filepath"
	"testing"

	"phase/appliance/base/statefile"
	"phase/appliance/base/strictjson"
	"phase/appliance/machine/settings"
	"phase/tests/netlab"
	"phase/tests/storetest"
)

// TestBlackHole: between two nodes is a link of MTU 1,400, and the routers at its
// ends drop the ICMP that would say so. A release is fetched across it all the
// same, and what has been fetched is served across it to the other side. Both
// machines run net, which gives TCP what it takes.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	plasmd := plasmd(t)
	narrow := netlab.NewSwitch(t, "narrow", netlab.Wire{})
	left, wide := behindNarrow(t, narrow, "left", "10.1.0", "10.9.0.1", "10.9.0.2", "10.2.0.0/24")
	right, _ := behindNarrow(t, narrow, "right", "10.2.0", "10.9.0.2", "10.9.0.1", "10.1.0.0/24")
	sent, passed := wide.Capture(), narrow.Capture()

	signer, from := storetest.NewSigner(t), t.TempDir()
	signer.Write(t, from, signer.Release(t, "stable", "x86_64", 20, storetest.Sizes))
	root := filepath.Join(from, "root", "1.json")
	serve := func(m *netlab.Machine, dir string) {
		m.Start(t, netlab.Program{Path: plasmd, Quiet: true, Args: []string{"serve", "-a", dir, "-b", "0.0.0.0", "--no-mdns", "--root", root}}).AwaitText(t, "serving http on ")
	}
	fetch := func(m *netlab.Machine, address string) (dir string) {
		dir = t.TempDir()
		_, stderr, err := m.Run(netlab.Program{Path: filepath.Join(filepath.Dir(plasmd), "phase"), Args: []string{
			"fetch", "--root", root, "--arch", "x86_64", "--output", dir, "--provider", "http://" + address + ":8080"}})
		if err != nil {
			t.Fatalf("%s fetches: %v: %s", m.Name, err, stderr)
		}
		return dir
	}
	serve(left, from)
	got := fetch(right, "10.1.0.2")
	serve(right, got)
	fetch(left, "10.2.0.2")

	// The hole is one: frames of full size came to it, and none got through.
	full := func(c *netlab.Capture) (count int) {
		for _, f := range c.Frames() {
			if len(f.Data) > 1400+14 {
				count++
			}
		}
		return count
	}
	if full(sent) == 0 || full(passed) != 0 {
		t.Errorf("%d frames of full size were sent and %d got through", full(sent), full(passed))
	}
}

// behindNarrow is a machine that runs net, on a wire of full size, behind a
// router on the narrow one which drops the ICMP that it should send.
func behindNarrow(t *testing.T, narrow *netlab.Switch, name, network, outside, other, beyond string) (*netlab.Machine, *netlab.Switch) {
	t.Helper()
	wide := netlab.NewSwitch(t, name, netlab.Wire{})
	router, host := netlab.NewMachine(t, name+"-router"), netlab.NewMachine(t, name)
	wide.Join(t, router, "in0", network+".1/24")
	narrow.Join(t, router, "out0", outside+"/24")
	router.SetMTU(t, "out0", 1400)
	router.Route(t, beyond, other)
	router.Forward(t)
	(&node{machine: router}).firewall(t, "table ip filter {\n chain leaving {\n  type filter hook output priority 0;\n  icmp type destination-unreachable drop\n }\n}\n")
	router.Dnsmasq(t, "in0", "--dhcp-range="+network+".2,"+network+".2,255.255.255.0,1h", "--dhcp-option=option:router,"+network+".1")
	wide.Wired(t, host, "eth0", "")
	state := t.TempDir()
	options, err := strictjson.Marshal(settings.Default())
	if err == nil {
		err = statefile.Write(state, statefile.BootFile, statefile.Boot{Options: options})
	}
	if err != nil {
		t.Fatal(err)
	}
	host.Start(t, netlab.Program{Path: filepath.Join(filepath.Dir(plasmd(t)), "phase"), Args: []string{"net", "--state", state, "--resolv", filepath.Join(state, "resolv.conf")}})
	netlab.WaitFile(t, filepath.Join(state, "net.json"), "a lease", func() bool {
		var n statefile.Net
		return statefile.Read(state, statefile.NetFile, &n) == nil && len(n.Interfaces) == 1 && n.Interfaces[0].Method == "dhcp"
	})
	return host, wide
}
